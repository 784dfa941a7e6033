"""Finds the lines that a page draws, and the grids that they form: tables whose cells are certain."""

import ctypes
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pypdfium2.raw as pdfium_c

from ingestion.parsers.pdf.by_number import POINTER, by_number, number_of, reference_to

_MAX_OBJECTS = 20_000
"""Maximum number of objects of a page. A page with more is a drawing without tables."""
_MAX_RULINGS = 4000
_MAX_DEPTH = 4
_THIN = 2.5
"""Points. A filled rectangle that is no thicker is a line."""
_SNAP = 3.0
"""Points. Lines that are no farther apart are one."""
_MIN_LENGTH = 4.0
_MAX_CELLS = 20_000
_MIN_LINES = 2

Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Matrix = (1, 0, 0, 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Ruling:
    """Horizontal (`at` is its y) or vertical (`at` is its x), from `start` to `end`. From the top downwards."""

    horizontal: bool
    at: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Grid:
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    owner: tuple[tuple[tuple[int, int], ...], ...]
    """For every row and column, the cell (row and column of its upper left corner) that covers it: cells may span."""

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Returns the cell that holds a point, which must be inside of the grid."""
        return self.owner[bisect_right(self.ys, y) - 1][bisect_right(self.xs, x) - 1]


@dataclass(frozen=True, slots=True)
class Drawing:
    rulings: tuple[Ruling, ...]
    picture_area: float
    """Area of all pictures, in square points; they may overlap."""
    objects: int
    """Number of objects of any kind."""


_object_at = by_number(pdfium_c.FPDFPage_GetObject, POINTER)
_object_in = by_number(pdfium_c.FPDFFormObj_GetObject, POINTER)
_count_in = by_number(pdfium_c.FPDFFormObj_CountObjects, ctypes.c_int)
_kind_of = by_number(pdfium_c.FPDFPageObj_GetType, ctypes.c_int, POINTER)
_matrix_of = by_number(pdfium_c.FPDFPageObj_GetMatrix, ctypes.c_int)
_bounds_of = by_number(pdfium_c.FPDFPageObj_GetBounds, ctypes.c_int)
_draw_mode_of = by_number(pdfium_c.FPDFPath_GetDrawMode, ctypes.c_int)
_segment_count_of = by_number(pdfium_c.FPDFPath_CountSegments, ctypes.c_int)
_segment_at = by_number(pdfium_c.FPDFPath_GetPathSegment, POINTER)
_segment_kind_of = by_number(pdfium_c.FPDFPathSegment_GetType, ctypes.c_int)
_point_of = by_number(pdfium_c.FPDFPathSegment_GetPoint, ctypes.c_int)
_is_closed = by_number(pdfium_c.FPDFPathSegment_GetClose, ctypes.c_int)
_MATRIX = struct.Struct("6f")
_PICTURES = (pdfium_c.FPDF_PAGEOBJ_IMAGE, pdfium_c.FPDF_PAGEOBJ_SHADING)


def read_drawing(page: pdfium_c.FPDF_PAGE) -> Drawing:
    rulings: list[Ruling] = []
    pictures = 0.0
    objects = 0
    for addresses, kinds, matrix in _objects(page):
        objects += len(kinds) - kinds.count(pdfium_c.FPDF_PAGEOBJ_FORM)
        if objects > _MAX_OBJECTS:
            rulings = []
            break
        for address, kind in zip(addresses, kinds, strict=True):
            if kind == pdfium_c.FPDF_PAGEOBJ_PATH and len(rulings) < _MAX_RULINGS:
                rulings += _of_path(reference_to(address), matrix)
            elif kind in _PICTURES:
                left, bottom, right, top = _bounds(reference_to(address), matrix)
                pictures += (right - left) * (top - bottom)
    return Drawing(tuple(rulings), pictures, objects)


def grids(rulings: Sequence[Ruling]) -> list[Grid]:
    """Returns the grids of at least two rows and two columns."""
    found = []
    for group in _connected(_merged([ruling for ruling in rulings if ruling.end - ruling.start >= _MIN_LENGTH])):
        grid = _grid(group)
        if grid:
            found.append(grid)
    return found


def turned(ruling: Ruling, angle: int) -> Ruling:
    """Returns the ruling in the orientation in which text that runs at `angle` (a multiple of 90) is upright."""
    if angle == 180:
        return Ruling(ruling.horizontal, -ruling.at, -ruling.end, -ruling.start)
    if angle % 180 == 0:
        return ruling
    # A point (x, y) goes to (-y, x), or to (y, -x).
    if (angle == 90) == ruling.horizontal:
        return Ruling(not ruling.horizontal, -ruling.at, ruling.start, ruling.end)
    return Ruling(not ruling.horizontal, ruling.at, -ruling.end, -ruling.start)


def _objects(page: pdfium_c.FPDF_PAGE) -> Iterator[tuple[list[int], list[int], Matrix]]:
    """Yields the objects of the page and of each form on it: their addresses, their kinds, and the form's matrix."""
    inside = [(_object_at, reference_to(number_of(page)), pdfium_c.FPDFPage_CountObjects(page), _IDENTITY, 0)]
    for object_at, parent, count, matrix, depth in inside:
        found = map(object_at, repeat(parent), range(min(count, _MAX_OBJECTS + 1)))
        addresses = [address for address in found if address]
        kinds = list(map(_kind_of, addresses))
        yield addresses, kinds, matrix
        for address, kind in zip(addresses, kinds, strict=True):
            if kind == pdfium_c.FPDF_PAGEOBJ_FORM and depth < _MAX_DEPTH and len(inside) <= _MAX_OBJECTS:
                form = reference_to(address)
                within = _times(_matrix(form), matrix)
                inside.append((_object_in, form, _count_in(form), within, depth + 1))


def _matrix(item: Any) -> Matrix:
    matrix = (ctypes.c_char * _MATRIX.size)()
    if not _matrix_of(item, ctypes.byref(matrix)):
        return _IDENTITY
    a, b, c, d, e, f = _MATRIX.unpack(matrix)
    return a, b, c, d, e, f


def _times(first: Matrix, then: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def _apply(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _bounds(item: Any, matrix: Matrix) -> tuple[float, float, float, float]:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    _bounds_of(item, ctypes.byref(left), ctypes.byref(bottom), ctypes.byref(right), ctypes.byref(top))
    x0, y0 = _apply(matrix, left.value, bottom.value)
    x1, y1 = _apply(matrix, right.value, top.value)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _of_path(item: Any, outer: Matrix) -> list[Ruling]:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    _draw_mode_of(item, ctypes.byref(fill), ctypes.byref(stroke))
    if not stroke.value and not fill.value:
        return []
    left, bottom, right, top = _bounds(item, outer)
    # Thin rectangles are how word processors draw lines.
    if top - bottom <= _THIN:
        return [Ruling(True, -(top + bottom) / 2, left, right)] if right - left > _THIN else []
    if right - left <= _THIN:
        return [Ruling(False, (left + right) / 2, -top, -bottom)]
    return _edges(item, _times(_matrix(item), outer), stroked=bool(stroke.value))


def _edges(item: Any, matrix: Matrix, *, stroked: bool) -> list[Ruling]:
    found: list[Ruling] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    to_x, to_y = ctypes.byref(x), ctypes.byref(y)
    start = before = (0.0, 0.0)
    box: list[tuple[float, float]] = []
    for index in range(min(_segment_count_of(item), _MAX_RULINGS)):
        segment = reference_to(_segment_at(item, index))
        kind = _segment_kind_of(segment)
        _point_of(segment, to_x, to_y)
        point = _apply(matrix, x.value, y.value)
        if kind == pdfium_c.FPDF_SEGMENT_MOVETO:
            found += _of_box(box, stroked)
            box, start = [], point
        elif kind == pdfium_c.FPDF_SEGMENT_LINETO:
            if stroked:
                found += _of_line(before, point)
            if stroked and _is_closed(segment):
                found += _of_line(point, start)
        box.append(point)
        before = point
    return found + _of_box(box, stroked)


def _of_box(points: Sequence[tuple[float, float]], stroked: bool) -> list[Ruling]:
    """Returns the rulings of a part of a filled path that is as thin as a line."""
    if stroked or not points:
        return []
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if max(ys) - min(ys) <= _THIN < max(xs) - min(xs):
        return [Ruling(True, -(max(ys) + min(ys)) / 2, min(xs), max(xs))]
    if max(xs) - min(xs) <= _THIN < max(ys) - min(ys):
        return [Ruling(False, (max(xs) + min(xs)) / 2, -max(ys), -min(ys))]
    return []


def _of_line(start: tuple[float, float], end: tuple[float, float]) -> list[Ruling]:
    (x0, y0), (x1, y1) = start, end
    if abs(y0 - y1) <= 1 and x0 != x1:
        return [Ruling(True, -(y0 + y1) / 2, min(x0, x1), max(x0, x1))]
    if abs(x0 - x1) <= 1 and y0 != y1:
        return [Ruling(False, (x0 + x1) / 2, -max(y0, y1), -min(y0, y1))]
    return []


def _merged(rulings: Sequence[Ruling]) -> list[Ruling]:
    """Merges pieces of one line, and lines drawn twice."""
    merged: list[Ruling] = []
    for horizontal in (True, False):
        of_kind = sorted((r for r in rulings if r.horizontal == horizontal), key=lambda r: (r.at, r.start))
        rows: list[list[Ruling]] = []
        for ruling in of_kind:
            if rows and ruling.at - rows[-1][-1].at <= 1:
                rows[-1].append(ruling)
            else:
                rows.append([ruling])
        for row in rows:
            merged += _chained(sorted(row, key=lambda ruling: ruling.start))
    return merged


def _chained(row: Sequence[Ruling]) -> list[Ruling]:
    chained: list[Ruling] = []
    for ruling in row:
        last = chained[-1] if chained else None
        if last and ruling.start - last.end <= _SNAP:
            chained[-1] = Ruling(last.horizontal, last.at, last.start, max(last.end, ruling.end))
        else:
            chained.append(ruling)
    return chained


def _touch(flat: Ruling, upright: Ruling) -> bool:
    return (
        flat.start - _SNAP <= upright.at <= flat.end + _SNAP and upright.start - _SNAP <= flat.at <= upright.end + _SNAP
    )


def _connected(rulings: Sequence[Ruling]) -> list[list[Ruling]]:
    """Returns groups of lines that cross or touch one another."""
    flat = [ruling for ruling in rulings if ruling.horizontal]
    upright = [ruling for ruling in rulings if not ruling.horizontal]
    left, groups = set(range(len(upright))), []
    unused = set(range(len(flat)))
    while left:
        group: list[Ruling] = []
        queue: list[tuple[bool, int]] = [(False, left.pop())]
        while queue:
            horizontal, index = queue.pop()
            group.append((flat if horizontal else upright)[index])
            if horizontal:
                near = [i for i in left if _touch(flat[index], upright[i])]
                left -= set(near)
            else:
                near = [i for i in unused if _touch(flat[i], upright[index])]
                unused -= set(near)
            queue += [(not horizontal, i) for i in near]
        groups.append(group)
    return groups


def _snapped(values: Sequence[float]) -> tuple[float, ...]:
    snapped: list[float] = []
    for value in sorted(values):
        if not snapped or value - snapped[-1] > _SNAP:
            snapped.append(value)
    return tuple(snapped)


def _grid(group: Sequence[Ruling]) -> Grid | None:
    flat = [ruling for ruling in group if ruling.horizontal]
    upright = [ruling for ruling in group if not ruling.horizontal]
    if len(flat) < _MIN_LINES or not upright:
        return None
    # Tables are often left open at their sides.
    xs = _snapped([r.at for r in upright] + [min(r.start for r in flat), max(r.end for r in flat)])
    ys = _snapped([r.at for r in flat] + [min(r.start for r in upright), max(r.end for r in upright)])
    rows, columns = len(ys) - 1, len(xs) - 1
    if rows < _MIN_LINES or columns < _MIN_LINES or rows * columns > _MAX_CELLS:
        return None
    owner = [[(row, column) for column in range(columns)] for row in range(rows)]
    below = [[_is_drawn(flat, ys[row], (xs[c] + xs[c + 1]) / 2) for c in range(columns)] for row in range(rows + 1)]
    beside = [
        [_is_drawn(upright, xs[c], (ys[row] + ys[row + 1]) / 2) for c in range(columns + 1)] for row in range(rows)
    ]
    for row in range(rows):
        for column in range(columns):
            if row and not below[row][column] and owner[row - 1][column][1] == owner[row][column][1]:
                owner[row][column] = owner[row - 1][column]
            elif column and not beside[row][column]:
                owner[row][column] = owner[row][column - 1]
    return Grid(xs, ys, tuple(map(tuple, owner)))


def _is_drawn(rulings: Sequence[Ruling], at: float, along: float) -> bool:
    return any(abs(ruling.at - at) <= _SNAP and ruling.start <= along <= ruling.end for ruling in rulings)
