"""Reads text in pictures with rapidocr (PP-OCR on onnxruntime; Chinese and English). Runs in the parser's child only.

The models are part of rapidocr's wheel. They are loaded, and used once, before the child drops its permission to open
files.
"""

import io
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np

from ingestion.errors import ParseFailed, ParseLimit
from ingestion.parsers.pages.ocr_state import OcrLimits
from ingestion.parsers.pdf.document import PdfPage, Picture
from ingestion.parsers.pdf.layout import arrange
from ingestion.parsers.pdf.lines import Segment
from ingestion.parsers.pdf.quality import PageQuality

_LONG_SIDE = 2000
"""Pixels. Larger pictures are made so small: the models see no more of them."""
_MAX_SCALE = 300 / 72
"""Pixels a point: no page is rendered in more than 300 dpi."""
_MAX_PICTURE_PIXELS = 150_000_000
_MIN_CONFIDENCE = 0.5
"""Lines that the model is less sure of are left out: they are mostly patterns, not writing."""
_EM = 0.8
"""Size of letters, in heights of the box around a line."""
_DESCENT = 0.2
_SAME_SIZE = 1.35
"""Boxes are inexact: lines of a page that differ by less are of one size."""
_TALL = 1.8


class Ocr:
    """Loads the models. Reads one picture at a time."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR  # optional, and a second to import

        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.max_side_len": _LONG_SIDE,
                "Global.text_score": _MIN_CONFIDENCE,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        _load_picture_formats()
        self._warm_up()

    def segments(self, picture: Picture, scale: float) -> tuple[list[Segment], float]:
        """Returns the lines of a picture that has `scale` pixels per point, and the mean confidence of their
        characters, 0 to 1.
        """
        result = self._engine(picture)
        if result.txts is None:
            return [], 0.0
        found: list[Segment] = []
        weight = sure = 0.0
        for box, text, score in zip(result.boxes, result.txts, result.scores, strict=True):
            if text := text.strip():
                found.append(_segment(np.asarray(box, dtype=float) / scale, text))
                weight += len(text)
                sure += len(text) * float(score)
        return _of_common_size(found), sure / weight if weight else 0.0

    def _warm_up(self) -> None:
        """Reads a generated picture of a word: every model runs once and has opened every file that it needs."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", (320, 64), "white")
        ImageDraw.Draw(image).text((10, 10), "ready 1234567890", fill="black", font_size=30)
        self._engine(_pixels(image))


def scale_for(width: float, height: float) -> float:
    """Returns the resolution, in pixels per point, in which a page of this size, in points, is rendered."""
    return min(_LONG_SIDE / max(width, height, 1.0), _MAX_SCALE)


class Budget:
    """The remaining OCR budget of one document."""

    def __init__(self, limits: OcrLimits) -> None:
        self._limits = limits
        self._start = _cpu_seconds()
        self._pages = 0

    def exhausted(self) -> str | None:
        """Describes the limit that is reached; None if one more page may be read."""
        if self._pages >= self._limits.pages:
            return f"OCR reads at most {self._limits.pages} pages of a document (TANDEM_OCR_PAGES)"
        if _cpu_seconds() - self._start >= self._limits.seconds:
            return f"OCR takes at most {self._limits.seconds:g} seconds of a document (TANDEM_OCR_SECONDS)"
        return None

    def take(self) -> None:
        self._pages += 1


def read_by_ocr(ocr: Ocr, page: PdfPage, render: Callable[[float], Picture], size: tuple[float, float]) -> PdfPage:
    """Returns the page with the text that OCR reads; the unchanged page if OCR finds none."""
    scale = scale_for(*size)
    segments, confidence = ocr.segments(render(scale), scale)
    if not segments:
        return page
    return _page(segments, confidence, page.quality, page.extra)


def read_picture(ocr: Ocr, data: bytes, budget: Budget) -> list[PdfPage]:
    """Reads every frame of a picture as a page. Raises ParseFailed and ParseLimit."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            pages: list[PdfPage] = []
            for number in range(getattr(image, "n_frames", 1)):
                if budget.exhausted():
                    pages.append(_empty())
                    continue
                budget.take()
                image.seek(number)
                if image.width * image.height > _MAX_PICTURE_PIXELS:
                    raise ParseLimit(
                        f"The picture has {image.width:,} x {image.height:,} pixels; at most "
                        f"{_MAX_PICTURE_PIXELS:,} are read. Make it smaller and send it again."
                    )
                if image.format == "JPEG":
                    image.draft("RGB", (2 * _LONG_SIDE, 2 * _LONG_SIDE))
                frame = ImageOps.exif_transpose(image)
                frame.thumbnail((_LONG_SIDE, _LONG_SIDE))
                segments, confidence = ocr.segments(_pixels(_on_white(frame)), 1.0)
                pages.append(
                    _page(segments, confidence, PageQuality(0, 0, 1.0, empty=False), []) if segments else _empty()
                )
            return pages
    except Image.DecompressionBombError as error:
        raise ParseLimit(f"The picture is too large: at most {_MAX_PICTURE_PIXELS:,} pixels are read.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise ParseFailed(f"The picture is damaged: {str(error)[:200] or type(error).__name__}.") from error


def _page(segments: list[Segment], confidence: float, quality: PageQuality, extra: list[str]) -> PdfPage:
    letters = Counter[float]()
    for segment in segments:
        letters[segment.size] += len(segment.text)
    return PdfPage(arrange(segments), [], extra, quality, letters, by_ocr=True, confidence=confidence)


def _empty() -> PdfPage:
    return PdfPage([], [], [], PageQuality(0, 0, 1.0, empty=False))


def _segment(box: np.ndarray, text: str) -> Segment:
    """Returns a segment. `box` holds its four corners, in points, clockwise from the upper left one."""
    (x0, top), (x1, bottom) = box.min(axis=0), box.max(axis=0)
    height = bottom - top
    # Of a line that runs downwards the width is that of a letter.
    size = round(_EM * (x1 - x0 if height > _TALL * (x1 - x0) else height), 1)
    word = text.split(maxsplit=1)[0]
    return Segment(
        text,
        x0,
        top,
        x1,
        bottom,
        bottom - _DESCENT * height,
        max(size, 0.1),
        bold=False,
        first_word=(x1 - x0) * (len(word) if text[0].isascii() else 1) / len(text),
    )


def _of_common_size(segments: list[Segment]) -> list[Segment]:
    """Returns the segments with equal sizes where sizes differ only by the inaccuracy of boxes."""
    if not segments:
        return segments
    common = round(median(segment.size for segment in segments), 1)
    return [
        replace(segment, size=common) if common / _SAME_SIZE < segment.size < common * _SAME_SIZE else segment
        for segment in segments
    ]


def _pixels(image: Any) -> Picture:
    """Returns the pixels as blue, green, red, the order that the models expect."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _on_white(image: Any) -> Any:
    """Returns the image on a white background: transparency would become black."""
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _load_picture_formats() -> None:
    """Loads Pillow's formats before files can no longer be opened."""
    from PIL import Image

    Image.init()
    Image.MAX_IMAGE_PIXELS = _MAX_PICTURE_PIXELS
    if find_spec("pi_heif"):
        from pi_heif import register_heif_opener

        register_heif_opener()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
