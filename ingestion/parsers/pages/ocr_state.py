"""The availability of OCR on this node, and its limits."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

OcrState = Literal["ready", "off", "not_installed", "broken"]
"""`broken`: its process does not start."""


@dataclass(frozen=True, slots=True)
class OcrLimits:
    """The resources that OCR of one document may use."""

    pages: int = 200
    seconds: float = 600
    """Processor time."""


def is_installed() -> bool:
    """Returns whether the optional packages are installed (dependency group `ocr`)."""
    return all(find_spec(name) for name in ("rapidocr", "onnxruntime", "PIL"))
