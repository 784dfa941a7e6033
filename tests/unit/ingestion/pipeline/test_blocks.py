"""Long texts are split in blocks: the splitter is given each character at most a few times, and ordinary documents are
chunked as if they were split whole."""

from collections.abc import Sequence
from functools import partial

import pytest
from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from ingestion.pipeline import blocks, chunking
from ingestion.pipeline.blocks import MAX_NESTING, MIN_BLOCK_CHARS, fence_around, fences, nesting, resume_at
from ingestion.pipeline.chunking import chunk_spans
from tests.support.models.fake_models import word_tokenizer

BLOCK = 2048
# Longer than one real block of these chunks; the shapes that a splitter takes most time for.
SHAPES = {
    "headings": "# h\n",
    "lines": "a\n",
    "items": "- a\n",
    "rows": "|a|b|\n",
    "brackets": "[" * 400 + "\n",
    "emphasis": "*a " * 260 + "\n",
    "deep list": "".join(f"{'  ' * (line % 60)}- x\n" for line in range(60)),
    "deep quotes": "".join(f"{'>' * (line % 60)} x\n" for line in range(60)),
    "quotes in a line": "> " * 250 + "\n",
    "a fence that never ends": "```\n" + "x = 1\n" * 9,
}


class Recorded:
    """A splitter that keeps what it was given."""

    def __init__(self, splitter: MarkdownSplitter | TextSplitter, given: list[tuple[type, str]]) -> None:
        self._splitter = splitter
        self._given = given

    def chunk_indices(self, text: str) -> Sequence[tuple[int, str]]:
        self._given.append((type(self._splitter), text))
        return self._splitter.chunk_indices(text)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type, str]]:
    """What the splitters are given from now on."""
    given: list[tuple[type, str]] = []
    real = chunking._splitter
    monkeypatch.setattr(chunking, "_splitter", lambda *arguments: Recorded(real(*arguments), given))
    return given


@pytest.fixture
def tokenizer() -> Tokenizer:
    return word_tokenizer()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MIN_BLOCK_CHARS", BLOCK)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain"])
@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_text_and_not_faster(
    tokenizer: Tokenizer, given: list[tuple[type, str]], shape: str, media_type: str
) -> None:
    unit = SHAPES[shape]
    text = unit * (8 * BLOCK // len(unit))
    spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=64, overlap=8, media_type=media_type)
    assert spans
    sizes = [len(block) for _, block in given]
    assert max(sizes) <= BLOCK
    assert sum(sizes) <= 2 * len(text) + BLOCK
    assert all(nesting(block) <= MAX_NESTING for splitter, block in given if splitter is MarkdownSplitter)


def test_lines_of_many_chunks_are_not_given_to_the_splitter(
    tokenizer: Tokenizer, given: list[tuple[type, str]]
) -> None:
    text = "\n".join(["word " * 1000] * 4)
    spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=16, overlap=0, media_type="text/plain")
    assert len(spans) > 200
    assert not [block for _, block in given if block.strip()]


@pytest.mark.parametrize("max_tokens", [64, 16])
def test_an_ordinary_document_is_chunked_as_if_it_were_split_whole(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, max_tokens: int
) -> None:
    section = (
        "## Section {0}\n\nSome words of section {0}. They go on for a while, and then they end.\n\n"
        "- first {0}\n  - inner, with more words in it\n- second {0}\n\n"
        "```python\n# not a heading {0}\n\nvalue = {0}\n\n\nother = value\n```\n\n"
        "| key | value |\n| --- | --- |\n| {0} | words |\n\n> A quote of {0}.\n\n"
    )
    text = "".join(section.format(number) for number in range(60))
    assert len(text) < MIN_BLOCK_CHARS
    chunks = partial(
        chunk_spans, text, tokenizer=tokenizer, max_tokens=max_tokens, overlap=8, media_type="text/markdown"
    )
    whole = chunks()
    monkeypatch.setattr(blocks, "MIN_BLOCK_CHARS", BLOCK)
    assert chunks() == whole


@pytest.mark.usefixtures("small_blocks")
def test_the_rest_of_a_long_fence_is_split_as_plain_text(tokenizer: Tokenizer, given: list[tuple[type, str]]) -> None:
    code = "```\n" + "# a comment\nvalue = 1\n" * 1000 + "```\n"
    text = f"# Before\n\n{code}\n# After\n\nThe end.\n"
    chunk_spans(text, tokenizer=tokenizer, max_tokens=64, overlap=8, media_type="text/markdown")
    markdown = [block for splitter, block in given if splitter is MarkdownSplitter]
    assert [block[:8] for block in markdown] == ["# Before", "\n\n# Afte"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\n```\nb\n```\nc", ["```\nb\n```"]),
        ("~~~~ x\n```\n~~~\n~~~~~ \nc", ["~~~~ x\n```\n~~~\n~~~~~ "]),
        ("- a\n  ```sh\n  b\n  ```\n", ["  ```sh\n  b\n  ```"]),
        ("```\nb\n``` c\n", ["```\nb\n``` c\n"]),
        ("`a` ``b``\n``` inline `code`\n", []),
    ],
    ids=["backticks", "tildes", "in a list", "unclosed", "inline"],
)
def test_fences(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in fences(text)] == found


def test_what_is_in_a_fence() -> None:
    spans = [(4, 9), (20, 30)]
    assert [fence_around(place, spans) for place in (0, 4, 5, 8, 9, 21, 30)] == [
        None, None, (4, 9), (4, 9), None, (20, 30), None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "depth"),
    [
        ("text\n\ttext\n", 0),
        ("- a\n- b\n", 1),
        ("- a\n  - b\n    - c\n- d\n  - e\n", 3),
        ("1. a\n   2) b\n", 2),
        ("> > a\n", 2),
        ("> - a\n", 2),
        ("- - - a\n", 3),
        ("- - - - -\n* * *\n---\n", 0),
        ("-a\n1.a\n", 0),
    ],
)
def test_nesting(block: str, depth: int) -> None:
    assert nesting(block) == depth


@pytest.mark.parametrize(
    ("text", "starts", "at"),
    [
        ("aaaaaaaa\nbb\n\ncc\ndd", [0, 9, 13, 16], 13),
        ("aaaaaaaa\nbb\ncc dd", [0, 9, 12, 15], 12),
        ("aaaaaaaa bb cc dd", [0, 9, 12, 15], 15),
        ("aaaaaaaa bb cc dd", [0, 3], 17),
        ("aaaaaaaa bb cc dd", [], 17),
    ],
    ids=["paragraph", "line", "chunk", "none late", "blank"],
)
def test_where_the_next_block_begins(text: str, starts: list[int], at: int) -> None:
    assert resume_at(text, starts, 0, len(text), []) == at


def test_the_next_block_does_not_begin_in_a_fence() -> None:
    text = "aaaaaaaa\n\nb\n\n```\n\nc\n```"
    assert resume_at(text, [0, 13, 18], 0, len(text), fences(text)) == 13
