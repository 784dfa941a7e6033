import pytest

from ingestion.errors import NoText, ParseFailed
from ingestion.parsers.subtitles import PARAGRAPH_CHARS, read_subtitles


def cue(number: int, start: str, end: str, text: str) -> str:
    return f"{number}\n{start} --> {end}\n{text}\n"


def test_cues_that_follow_each_other_are_one_paragraph_with_its_time() -> None:
    source = "\n".join(
        [
            cue(1, "00:00:01,000", "00:00:02,500", "<i>The kiln</i> is"),
            cue(2, "00:00:02,600", "00:00:04,000", "{\\an8}hot &amp; dry."),
            cue(3, "01:02:03,000", "01:02:04,000", "第二天"),
        ]
    )
    assert read_subtitles(source).text == "[00:00:01] The kiln is hot & dry.\n\n[01:02:03] 第二天"


def test_a_long_paragraph_ends_with_a_sentence() -> None:
    words = "word " * (PARAGRAPH_CHARS // 5)
    source = "\n".join(
        [
            cue(1, "00:00:01,000", "00:00:02,000", f"{words}goes on"),
            cue(2, "00:00:02,000", "00:00:03,000", "and ends."),
            cue(3, "00:00:03,000", "00:00:04,000", "Next."),
        ]
    )
    assert [each[:10] for each in read_subtitles(source).text.split("\n\n")] == ["[00:00:01]", "[00:00:03]"]


def test_webvtt_speakers_notes_and_settings() -> None:
    source = (
        "WEBVTT - The lesson\r\n\r\nNOTE not said\r\n\r\nSTYLE\r\n::cue {}\r\n\r\nintro\r\n"
        "00:01.000 --> 00:02.000 align:start position:0%\r\n<v Lin>Good <00:01.500>morning.\r\n\r\nNOTE between\r\n\r\n"
        "00:02.100 --> 00:03.000\r\n<v.loud Wang>Good morning."
    )
    found = read_subtitles(source)
    assert found.title == "The lesson"
    assert found.text == "[00:00:01] Lin: Good morning. Wang: Good morning."


def test_lines_that_roll_come_once_and_missing_empty_lines_do_no_harm() -> None:
    source = (
        "1\n00:00:01,000 --> 00:00:02,000\nSame line\n2\n00:00:02,000 --> 00:00:03,000\nSame line\n"
        "3\n00:00:03,000 --> 00:00:04,000\nIn 1984\n"
    )
    assert read_subtitles(source).text == "[00:00:01] Same line In 1984"


def test_what_are_no_subtitles() -> None:
    with pytest.raises(ParseFailed, match="no times"):
        read_subtitles("Just words.")
    with pytest.raises(NoText):
        read_subtitles("1\n00:00:01,000 --> 00:00:02,000\n\n")
