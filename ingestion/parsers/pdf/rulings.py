"""Finds the lines that a page draws, and the grids that they form: tables whose cells are certain."""

import ctypes
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pypdfium2.raw as pdfium_c

from ingestion.parsers.pdf.by_number import POINTER, by_number, number_of

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

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Returns the cell that holds a point; None if it is outside."""
        column, row = bisect_right(self.xs, x) - 1, bisect_right(self.ys, y) - 1
        if 0 <= column < len(self.xs) - 1 and 0 <= row < len(self.ys) - 1:
            return self.owner[row][column]
        return None


@dataclass(frozen=True, slots=True)
class Drawing:
    rulings: tuple[Ruling, ...]
    picture_area: float
    """Area of all pictures, in square points; they may overlap."""
    objects: int
    """Number of objects of any kind."""


_object_at = by_number(pdfium_c.FPDFPage_GetObject, POINTER, POINTER, ctypes.c_int)
_kind_of = by_number(pdfium_c.FPDFPageObj_GetType, ctypes.c_int, POINTER)


def read_drawing(page: pdfium_c.FPDF_PAGE) -> Drawing:
    rulings: list[Ruling] = []
    pictures = 0.0
    objects = 0
    for kind, item, matrix in _objects(page):
        objects += 1
        if objects > _MAX_OBJECTS:
            rulings = []
            break
        if kind == pdfium_c.FPDF_PAGEOBJ_PATH and len(rulings) < _MAX_RULINGS:
            rulings += _of_path(item, matrix)
        elif kind in (pdfium_c.FPDF_PAGEOBJ_IMAGE, pdfium_c.FPDF_PAGEOBJ_SHADING):
            left, bottom, right, top = _bounds(item, matrix)
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


def _objects(page: pdfium_c.FPDF_PAGE) -> Iterator[tuple[int, pdfium_c.FPDF_PAGEOBJECT | None, Matrix]]:
    """Yields everything that is drawn: its kind, PDFium's handle (None for texts), and the matrix of the form that
    contains it.
    """
    address = number_of(page)
    for index in range(pdfium_c.FPDFPage_CountObjects(page)):
        found = _object_at(address, index)
        kind = _kind_of(found) if found else pdfium_c.FPDF_PAGEOBJ_UNKNOWN
        item = None if kind == pdfium_c.FPDF_PAGEOBJ_TEXT else ctypes.cast(found, pdfium_c.FPDF_PAGEOBJECT)
        if kind == pdfium_c.FPDF_PAGEOBJ_FORM:
            yield from _inside(item, _IDENTITY, 0)
        else:
            yield kind, item, _IDENTITY


def _inside(
    form: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, depth: int
) -> Iterator[tuple[int, pdfium_c.FPDF_PAGEOBJECT, Matrix]]:
    if depth >= _MAX_DEPTH:
        return
    within = _times(_matrix(form), matrix)
    for index in range(pdfium_c.FPDFFormObj_CountObjects(form)):
        item = pdfium_c.FPDFFormObj_GetObject(form, index)
        kind = pdfium_c.FPDFPageObj_GetType(item)
        if kind == pdfium_c.FPDF_PAGEOBJ_FORM:
            yield from _inside(item, within, depth + 1)
        else:
            yield kind, item, within


def _matrix(item: pdfium_c.FPDF_PAGEOBJECT) -> Matrix:
    matrix = pdfium_c.FS_MATRIX()
    if not pdfium_c.FPDFPageObj_GetMatrix(item, matrix):
        return _IDENTITY
    return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f


def _times(first: Matrix, then: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return (a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m)


def _apply(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _bounds(item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix) -> tuple[float, float, float, float]:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    pdfium_c.FPDFPageObj_GetBounds(item, left, bottom, right, top)
    x0, y0 = _apply(matrix, left.value, bottom.value)
    x1, y1 = _apply(matrix, right.value, top.value)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _of_path(item: pdfium_c.FPDF_PAGEOBJECT, outer: Matrix) -> list[Ruling]:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDFPath_GetDrawMode(item, fill, stroke)
    if not stroke.value and not fill.value:
        return []
    left, bottom, right, top = _bounds(item, outer)
    # Thin rectangles are how word processors draw lines.
    if top - bottom <= _THIN:
        return [Ruling(True, -(top + bottom) / 2, left, right)] if right - left > _THIN else []
    if right - left <= _THIN:
        return [Ruling(False, (left + right) / 2, -top, -bottom)]
    return _edges(item, _times(_matrix(item), outer), stroked=bool(stroke.value))


def _edges(item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, *, stroked: bool) -> list[Ruling]:
    found: list[Ruling] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    start = before = (0.0, 0.0)
    box: list[tuple[float, float]] = []
    for index in range(min(pdfium_c.FPDFPath_CountSegments(item), _MAX_RULINGS)):
        segment = pdfium_c.FPDFPath_GetPathSegment(item, index)
        kind = pdfium_c.FPDFPathSegment_GetType(segment)
        pdfium_c.FPDFPathSegment_GetPoint(segment, x, y)
        point = _apply(matrix, x.value, y.value)
        if kind == pdfium_c.FPDF_SEGMENT_MOVETO:
            found += _of_box(box, stroked)
            box, start = [], point
        elif kind == pdfium_c.FPDF_SEGMENT_LINETO:
            if stroked:
                found += _of_line(before, point)
            if stroked and pdfium_c.FPDFPathSegment_GetClose(segment):
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
