"""The readers of all accepted types."""

from ingestion.parsers.detect import ACCEPTED
from ingestion.parsers.pages.ocr_state import OcrLimits
from ingestion.parsers.pages.reader import PageReader
from ingestion.parsers.registry import readers
from ingestion.parsers.xberg import configuration


def test_every_accepted_type_has_a_reader_and_no_other() -> None:
    assert set(readers(configuration(seconds=1, max_chars=1), PageReader(None, OcrLimits()))) == set(ACCEPTED)
