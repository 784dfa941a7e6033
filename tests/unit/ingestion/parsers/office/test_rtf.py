import pytest

from ingestion.parsers.office.rtf import prepared, title

HEAD = rb"{\rtf1\ansi\ansicpg936\deff0{\info{\title "


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (rb"12\~kg, a\_b, op\-tion", rb"12\u160?kg, a-b, option"),
        (rb"m{\super 2}, 10{\super\fs16 6}, 1{\super st}", b"m^2, 10^6, 1st"),
        (rb"\\~ {\super\chftn }", rb"\\~  "),
    ],
)
def test_symbols_and_raised_numbers(source: bytes, expected: bytes) -> None:
    assert prepared(source) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (rb"\'b2\'fa\'c6\'b7 A", "产品 A"),
        (rb"\u20135?\u21697 ?x\~y", "产品x y"),
        (rb"\u-10179?", ""),
        (b"", ""),
    ],
)
def test_titles_are_decoded(field: bytes, expected: str) -> None:
    assert title(HEAD + field + rb"}}text}") == expected


def test_a_file_without_a_title_has_none() -> None:
    assert title(rb"{\rtf1 text}") == ""
