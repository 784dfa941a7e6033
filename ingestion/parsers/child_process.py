"""One child process of the parser, and the frames to and from it (ingestion.parsers.child is its program)."""

import asyncio
import contextlib
import json
import math
import os
import struct
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ingestion.errors import EncryptedDocument, NoText, ParseFailed, ParseLimit
from ingestion.parsers.pages.ocr_state import OcrState
from ingestion.pipeline.document_chunks import ChunkingPlan
from ingestion.types import Boilerplate, ChunkLayout, ChunkSpan, OcrMode, Page, ParsedDocument, ReadingReport

log = structlog.get_logger()

# All that a child gets to see of the environment: no keys, no proxies.
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    "PYTHONUTF8": "1",
    "MALLOC_ARENA_MAX": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "OPENBLAS_NUM_THREADS": "1",
}
CLOCK_FACTOR = 5
_PROGRAM = ("-P", "-m", "ingestion.parsers.child")
_ERRORS = {error.code: error for error in (ParseFailed, EncryptedDocument, ParseLimit, NoText)}
# Bounds on what a child may answer: it may be in the hands of the document.
_MAX_HEADER_BYTES = 2**26
_MAX_TITLE_CHARS = 2**16
_MAX_MESSAGE_CHARS = 2000
_MAX_WARNINGS = 100
_MAX_LINE_CHARS = 300
_MAX_HEADINGS, _MAX_HEADING_CHARS, _MAX_PATH_CHARS = 6, 200, 1000
_BYTES_PER_CHAR = 4
_EXIT_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Garbage(Exception):
    """The child's answer is malformed."""


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """The resources that one document may use."""

    seconds: float = 60
    """Processor time, to read and to chunk it. By the clock CLOCK_FACTOR times as much, for a busy machine."""
    memory_bytes: int = 2 * 2**30
    """Address space of a child (Linux)."""
    ocr_memory_bytes: int = 3 * 2**30
    """The same of a child with OCR, whose models occupy more."""
    ocr_pages: int = 200
    """Pages of one document that OCR reads."""
    ocr_seconds: float = 600
    """Processor time for it, besides `seconds`."""
    text_chars: int = 20_000_000
    """Characters of text that come out."""
    documents_per_process: int = 1000
    """A child is replaced after so many documents."""
    recycle_bytes: int = 2**30
    """A child is replaced after the document that made it occupy more memory than this."""

    def clock_seconds(self, *, ocr: bool) -> float:
        return CLOCK_FACTOR * (self.seconds + (self.ocr_seconds if ocr else 0))


@dataclass(frozen=True, slots=True)
class Request:
    data: bytes
    media_type: str
    plan: ChunkingPlan | None
    """None: the document is not chunked."""
    tokenizer: bytes
    """The plan's, as JSON."""
    ocr: OcrMode = "auto"
    ocr_state: OcrState = "off"
    boilerplate: Boilerplate = "keep"


@dataclass(frozen=True, slots=True)
class Answer:
    result: ParsedDocument | ParseFailed | None
    """None: it has to be read in a child with OCR."""
    peak_bytes: int


class Child:
    """A running child. Methods raise asyncio.IncompleteReadError or ConnectionError if the process has ended, Garbage
    if it sends an answer that no document can cause.
    """

    def __init__(self, process: Process, limits: ParserLimits, *, ocr: bool = False) -> None:
        assert process.stdin
        assert process.stdout
        self.documents = 0
        self.ocr = ocr
        self._limits = limits
        self._process = process
        self._requests = process.stdin
        self._replies = process.stdout
        self._tokenizer = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ready(self) -> None:
        """Returns when the child's limits are in force."""
        header, _ = await self._receive()
        log.debug("parser process is ready", restrictions=header.get("ready"))

    async def ask(self, request: Request) -> Answer:
        self.documents += 1
        plan = request.plan
        # It keeps the one it has had last.
        tokenizer = b"" if request.tokenizer == self._tokenizer else request.tokenizer
        header = {
            "media_type": request.media_type,
            "size": len(request.data),
            "plan": plan
            and [*(plan.title, plan.window, plan.section_prefix, plan.chunking.max_tokens, plan.chunking.overlap)],
            "tokenizer": len(tokenizer),
            "ocr": request.ocr,
            "ocr_state": request.ocr_state,
            "boilerplate": request.boilerplate,
        }
        encoded = json.dumps(header).encode()
        self._requests.write(struct.pack(">I", len(encoded)) + encoded)
        self._requests.write(tokenizer)
        self._requests.write(request.data)
        await self._requests.drain()
        self._tokenizer = request.tokenizer or self._tokenizer
        reply, body = await self._receive()
        try:
            return _answer(reply, body, request.media_type)
        except (KeyError, TypeError, ValueError) as error:
            raise Garbage from error

    async def _receive(self) -> tuple[dict[str, Any], bytes]:
        (length,) = struct.unpack(">I", await self._replies.readexactly(4))
        if length > _MAX_HEADER_BYTES:
            raise Garbage
        try:
            header = json.loads(await self._replies.readexactly(length))
            size = header["size"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Garbage from error
        if type(size) is not int or not 0 <= size <= self._limits.text_chars * _BYTES_PER_CHAR:
            raise Garbage
        return header, await self._replies.readexactly(size)

    def cpu_seconds(self) -> float | None:
        """Returns the processor time that the child has used; None if it cannot be read."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._requests.close()

    async def last_line(self) -> str:
        """Returns the last line that a child which never became ready wrote to standard error, as a rule its exception;
        empty if there is none. It has seen no document by then.
        """
        assert self._process.stderr
        written = b""
        # One read returns what has arrived, which may end before the last line.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                while len(written) < 2**16 and (part := await self._process.stderr.read(2**12)):
                    written += part
        lines = written.decode(errors="replace").split("\n")
        return next((line.strip()[:_MAX_LINE_CHARS] for line in reversed(lines) if line.strip()), "")

    async def wait(self) -> int | None:
        """Returns the child's exit status, killing it if necessary; None if even that does not end it in time."""
        for _ in range(2):
            try:
                async with asyncio.timeout(_EXIT_SECONDS):
                    return await self._process.wait()
            except TimeoutError:
                self.kill()
        return None


async def spawn(limits: ParserLimits, *, ocr: bool = False) -> Child:
    """Starts a child. One with OCR takes some seconds more to start. Raises OSError or RuntimeError if no process (or
    no thread to wait for it) can be started.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_PROGRAM,
        str(math.ceil(limits.seconds)),
        str((limits.ocr_memory_bytes if ocr else limits.memory_bytes) // 2**20),
        str(limits.text_chars),
        str(os.getpid()),
        str(limits.ocr_pages if ocr else 0),
        str(math.ceil(limits.ocr_seconds) if ocr else 0),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,  # a child that is ready writes there no more
        env=_ENVIRONMENT,
        limit=2**20,
    )
    return Child(process, limits, ocr=ocr)


def _answer(reply: dict[str, Any], body: bytes, media_type: str) -> Answer:
    """Parses an answer. Raises KeyError, TypeError, ValueError."""
    peak = _number(reply["peak_bytes"])
    if "error" in reply:
        return Answer(_ERRORS[reply["error"]](_string(reply["message"], _MAX_MESSAGE_CHARS)), peak)
    if "ocr_needed" in reply:
        return Answer(None, peak)
    text = body.decode()
    pages = tuple(Page(_number(number), _number(start, len(text))) for number, start in reply["pages"])
    layout = reply["layout"]
    if layout is not None:
        layout = ChunkLayout(_string(layout["title"], _MAX_TITLE_CHARS), _spans(layout["spans"], len(text)))
    title = _string(reply["title"], _MAX_TITLE_CHARS)
    return Answer(ParsedDocument(text, media_type, title, pages, layout, _report(reply["report"])), peak)


def _report(values: dict[str, Any]) -> ReadingReport:
    confidence = values["ocr_confidence"]
    if confidence is not None and not (isinstance(confidence, float) and 0 <= confidence <= 1):
        raise ValueError("no such confidence")
    return ReadingReport(
        _number(values["pages"]),
        tuple(map(_number, values["pages_without_text"])),
        tuple(map(_number, values["ocr_pages"])),
        confidence,
        tuple(_string(warning, _MAX_MESSAGE_CHARS) for warning in values["warnings"][:_MAX_WARNINGS]),
    )


def _spans(values: Sequence[Sequence[Any]], chars: int) -> tuple[ChunkSpan, ...]:
    spans = [
        ChunkSpan(
            _number(start, chars),
            _number(end, chars),
            _number(tokens),
            tuple(_string(title, _MAX_HEADING_CHARS) for title in section[:_MAX_HEADINGS]),
            None if header is None else (_number(header[0], chars), _number(header[1], chars)),
            _string(path, _MAX_PATH_CHARS),
        )
        for start, end, tokens, section, header, path in values
    ]
    if any(span.start >= span.end for span in spans):
        raise ValueError("a chunk without text")
    return tuple(spans)


def _number(value: object, most: int = 2**53) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no such number")
    return value


def _string(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError("no such text")
    value.encode()
    return value
