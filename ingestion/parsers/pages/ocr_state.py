"""Whether this node has OCR, and what it may cost."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

OcrState = Literal["ready", "off", "not_installed", "broken"]
"""`broken`: its process does not start."""


@dataclass(frozen=True, slots=True)
class OcrLimits:
    """What OCR of one document may cost."""

    pages: int = 200
    seconds: float = 600
    """Processor time."""


def is_installed() -> bool:
    """Whether the optional packages are there (dependency group `ocr`)."""
    return all(find_spec(name) for name in ("rapidocr", "onnxruntime", "PIL"))
