from contextlib import suppress

import pytest

from ingestion.errors import EncryptedDocument, NoText, ParseFailed
from ingestion.parsers.detect import PPT, detect
from ingestion.parsers.office.old_slides import read_old_slides
from tests.support.files.ole import ole
from tests.support.files.powerpoint97 import OldSlide, old_presentation

SLIDES = [OldSlide("Kilns", "A box\rof text", "Say why."), OldSlide("窑", "第二张")]


def test_titles_boxes_and_notes_of_each_slide() -> None:
    data = old_presentation(SLIDES)
    assert detect(data, filename="a.ppt") == PPT
    found = read_old_slides(data)
    assert found.text == "# Kilns\n\nA box\nof text\n\nSay why.\n\n# 窑\n\n第二张"
    assert [number for number, _ in found.pages] == [1, 2]


def test_what_was_saved_before_is_not_read() -> None:
    assert "old words" not in read_old_slides(old_presentation(SLIDES, stale=OldSlide("", "old words"))).text


def test_a_password_is_told() -> None:
    with pytest.raises(EncryptedDocument):
        read_old_slides(old_presentation(SLIDES, encrypted=True))


@pytest.mark.parametrize("stream", [b"", b"\x0f\0\xe8\x03\xff\xff\xff\xff" * 9, bytes(5000)])
def test_damaged_files_are_refused(stream: bytes) -> None:
    with pytest.raises((ParseFailed, NoText)):
        read_old_slides(ole({"PowerPoint Document": stream}))
    with pytest.raises(ParseFailed):
        read_old_slides(ole({"Other": stream}))


@pytest.mark.parametrize("cut", range(100, 3000, 170))
def test_cut_files_fail_cleanly(cut: int) -> None:
    with suppress(ParseFailed):
        read_old_slides(old_presentation(SLIDES)[:cut])
