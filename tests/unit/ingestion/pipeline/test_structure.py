"""Chunks that can stand alone: whole items and fences, rows with their header, nothing that says nothing."""

import pytest

from ingestion.pipeline.chunking import chunk_spans
from ingestion.types import ChunkSpan
from tests.support.models.fake_models import word_tokenizer

TOKENIZER = word_tokenizer()


def words(count: int, mark: str) -> str:
    return " ".join(f"{mark}{number}" for number in range(count))


def cut(text: str, max_tokens: int, overlap: int = 0, media_type: str = "text/markdown") -> list[ChunkSpan]:
    return chunk_spans(text, tokenizer=TOKENIZER, max_tokens=max_tokens, overlap=overlap, media_type=media_type)


def texts(text: str, max_tokens: int, overlap: int = 0, media_type: str = "text/markdown") -> list[str]:
    return [text[span.start : span.end] for span in cut(text, max_tokens, overlap, media_type)]


@pytest.mark.parametrize("size", [12, 30])
def test_a_long_code_block_is_cut_between_its_lines(size: int) -> None:
    lines = [
        f'    step{number}("Part {number}. Then more", at={number})  # why; and {words(2, "so")}'
        for number in range(40)
    ]
    text = f"# Title\n\nBefore.\n\n```python\n{chr(10).join(lines)}\n```\n\nAfter."
    for chunk in texts(text, size + 20):
        for line in chunk.splitlines():
            assert line.strip() in {each.strip() for each in text.splitlines()}, chunk


@pytest.mark.parametrize("overlap", [0, 5])
@pytest.mark.parametrize("body", [words(29, "w"), words(90, "w"), words(31, "w") + "\n\n" + words(8, "x")])
def test_no_chunk_is_a_heading_alone(body: str, overlap: int) -> None:
    text = f"# Title\n\n{body}\n\n## Second\n\n### Third\n\n{body}\n\n## Last"
    found = texts(text, 30, overlap)
    for chunk in found:
        assert any(line and not line.startswith("#") for line in chunk.splitlines()), chunk
    for chunk in found[:-1]:
        assert not chunk.splitlines()[-1].startswith("#"), chunk


def test_no_chunk_is_a_line_of_a_fence_alone() -> None:
    for lines in range(5, 40):
        code = "\n".join(f"line{number} of code" for number in range(lines))
        text = f"Before.\n\n```python\n{code}\n```\n\n{words(29, 'w')}"
        for chunk in texts(text, 30):
            assert chunk.strip("`python\n"), text
            assert not chunk.endswith("python")


def test_what_fits_is_not_cut() -> None:
    items = [f"- {words(5, f'i{number}')}\n  {words(6, f'j{number}')}" for number in range(9)]
    fence = "```\n" + "\n\n".join(words(3, f"c{number}") for number in range(6)) + "\n```"
    table = "| a | b |\n| - | - |\n| 1 | 2 |\n| 3 | 4 |"
    text = "\n\n".join([words(20, "w"), "\n".join(items), words(20, "x"), fence, words(20, "y"), table, words(20, "z")])
    found = texts(text, 32)
    for whole in (*items, fence, table):
        assert any(whole in chunk for chunk in found), whole


def test_rows_keep_the_header_of_their_table_and_its_room() -> None:
    rows = [f"| {words(2, f'r{number}_')} | {number} |" for number in range(40)]
    head = "| name | number |\n| ---- | ------ |\n"
    text = f"# List\n\nCaption.\n\n{head}" + "\n".join(rows) + "\n\nAfter it."
    spans = cut(text, 40, overlap=8)
    inside = [span for span in spans if text.index(rows[0]) < span.start < text.index("\n\nAfter")]
    assert len(inside) > 5
    for span in inside:
        assert span.header
        assert text[slice(*span.header)] == head
        assert span.section == ("List",)
        chunk = text[span.start : span.end]
        assert span.tokens == len(TOKENIZER.encode(head + chunk, add_special_tokens=False)) <= 40
        assert all(line in rows for line in chunk.splitlines())
    assert all(span.header is None for span in spans if span not in inside)
    assert sum(row in text[span.start : span.end] for row in rows for span in spans) == len(rows)


def test_values_keep_their_first_line() -> None:
    text = "name,place\n" + "\n".join(f"n{number},p{number}" for number in range(50))
    spans = cut(text, 20, media_type="text/csv")
    assert all(span.header == (0, 11) for span in spans[1:])
    assert spans[0].header is None


def test_a_header_that_leaves_no_room_is_not_repeated() -> None:
    text = f"| {words(20, 'h')} |\n| --- |\n" + "\n".join(f"| {words(4, 'r')} |" for _ in range(20))
    assert all(span.header is None for span in cut(text, 40))


def test_a_row_that_is_longer_than_a_chunk_is_cut_below_the_header() -> None:
    text = f"| a |\n| - |\n| 1 |\n| {words(90, 'r')} |\n| 2 |"
    spans = cut(text, 30)
    assert len(spans) > 4
    assert all(span.tokens <= 30 for span in spans)
    assert all(span.header for span in spans[1:])


def test_a_chunk_of_a_short_text_has_its_section() -> None:
    assert [span.section for span in cut("# One\n\ntext", 100)] == [("One",)]
    assert [span.section for span in cut("# One\n\ntext", 100, media_type="text/plain")] == [()]
