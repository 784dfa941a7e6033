"""What a parser's child may answer: whatever the document made of it, the parent takes only what makes sense."""

import asyncio
import json
import struct
from typing import Any, cast

import pytest

from ingestion.errors import NoText
from ingestion.parsers.child_process import Answer, Child, Garbage, ParserLimits, Request
from ingestion.pipeline.document_chunks import ChunkingPlan
from ingestion.types import Chunking, ChunkLayout, ChunkSpan, Page, ParsedDocument, ReadingReport
from tests.support.models.fake_models import word_tokenizer

REPORT = {
    "pages": 2,
    "pages_without_text": [2],
    "ocr_pages": [1],
    "ocr_confidence": 0.9,
    "warnings": ["No text could be read on page 2."],
}
GOOD = {"title": "T", "pages": [[1, 0]], "layout": None, "report": REPORT, "size": 4, "peak_bytes": 7}


class Pipe:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None: ...

    def close(self) -> None: ...


class FakeProcess:
    """Its answers are there already."""

    def __init__(self, answers: bytes) -> None:
        self.stdin = Pipe()
        self.stdout = asyncio.StreamReader()
        self.stdout.feed_data(answers)
        self.stdout.feed_eof()
        self.pid = 1
        self.returncode = None


def frame(header: object, body: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">I", len(encoded)) + encoded + body


def child(answers: bytes) -> tuple[Child, FakeProcess]:
    process = FakeProcess(answers)
    return Child(cast("Any", process), ParserLimits(text_chars=1000)), process


async def ask(answers: bytes) -> Answer:
    return await child(answers)[0].ask(Request(b"data", "text/html", None, b""))


async def test_a_good_answer() -> None:
    layout = {"title": "U", "spans": [[0, 2, 1, [], None, ""], [2, 4, 1, ["One", "Two"], [0, 1], "Two"]]}
    answer = await ask(frame(GOOD | {"layout": layout}, b"text"))
    chunked = ChunkLayout("U", (ChunkSpan(0, 2, 1), ChunkSpan(2, 4, 1, ("One", "Two"), (0, 1), "Two")))
    report = ReadingReport(2, (2,), (1,), 0.9, ("No text could be read on page 2.",))
    assert answer == Answer(ParsedDocument("text", "text/html", "T", (Page(1, 0),), chunked, report), 7)


async def test_a_document_that_needs_ocr() -> None:
    assert await ask(frame({"ocr_needed": True, "size": 0, "peak_bytes": 7})) == Answer(None, 7)


async def test_a_refusal() -> None:
    answer = await ask(frame({"error": "no_text", "message": "Nothing.", "size": 0, "peak_bytes": 7}))
    assert isinstance(answer.result, NoText)
    assert answer.result.message == "Nothing."


@pytest.mark.parametrize(
    "answers",
    [
        b"\xff\xff\xff\xff",
        frame(b"no json", b"text"),
        frame(b"[" * 100_000, b"text"),
        frame([], b"text"),
        frame({}, b"text"),
        frame(GOOD | {"size": "4"}, b"text"),
        frame(GOOD | {"size": -1}, b"text"),
        frame(GOOD | {"size": 10**9}, b"text"),
        frame(GOOD | {"size": True}, b"t"),
        frame(GOOD, b"\xff\xff\xff\xff"),
        frame(GOOD | {"peak_bytes": None}, b"text"),
        frame({"error": "internal", "message": "x", "size": 0, "peak_bytes": 7}),
        frame({"error": ["no_text"], "message": "x", "size": 0, "peak_bytes": 7}),
        frame({"error": "no_text", "message": 5, "size": 0, "peak_bytes": 7}),
        frame(GOOD | {"title": 5}, b"text"),
        frame(GOOD | {"title": "\ud800"}, b"text"),
        frame(GOOD | {"pages": [[1, 5]]}, b"text"),
        frame(GOOD | {"pages": [1]}, b"text"),
        frame(GOOD | {"report": None}, b"text"),
        frame(GOOD | {"report": REPORT | {"pages": -1}}, b"text"),
        frame(GOOD | {"report": REPORT | {"ocr_pages": ["1"]}}, b"text"),
        frame(GOOD | {"report": REPORT | {"ocr_confidence": 1.5}}, b"text"),
        frame(GOOD | {"report": REPORT | {"ocr_confidence": "high"}}, b"text"),
        frame(GOOD | {"report": REPORT | {"warnings": [5]}}, b"text"),
        frame(GOOD | {"layout": [1]}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[0, 5, 1, [], None, ""]]}}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[2, 2, 1, [], None, ""]]}}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[-1, 2, 1, [], None, ""]]}}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[0, 2]]}}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[0, 2, 1, ["x" * 201], None, ""]]}}, b"text"),
        frame(GOOD | {"layout": {"title": "", "spans": [[0, 2, 1, [], [0, 5], ""]]}}, b"text"),
    ],
)
async def test_answers_without_sense(answers: bytes) -> None:
    with pytest.raises(Garbage):
        await ask(answers)


@pytest.mark.parametrize("answers", [b"", b"\0\0", frame(GOOD)[:9], frame(GOOD, b"te")])
async def test_answers_that_break_off(answers: bytes) -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await ask(answers)


async def test_a_tokenizer_is_sent_once() -> None:
    tokenizer = word_tokenizer()
    one, process = child(frame(GOOD, b"text") * 3)
    plan = ChunkingPlan("", tokenizer, 512, Chunking())
    sent = []
    for vocabulary in (b"{first}", b"{first}", b"{second}"):
        await one.ask(Request(b"data", "text/html", plan, vocabulary))
        sent.append(process.stdin.written.count(vocabulary))
    assert sent == [1, 1, 1]
    assert process.stdin.written.count(b"data") == 3
