"""The parser port on a pool of child processes, each under limits, so that no document can harm the service."""

import asyncio
import contextlib
import json
import math
import os
import signal
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ingestion.errors import EncryptedDocument, NoText, ParseFailed, ParseLimit
from ingestion.parsers.detect import PLAIN
from ingestion.parsers.text import decode, normalize
from ingestion.types import Page, ParsedDocument
from retrieval.errors import Unavailable
from retrieval.side_by_side import side_by_side

log = structlog.get_logger()

# All that a child gets to see of the environment: no keys, no proxies.
_ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    "PYTHONUTF8": "1",
    "MALLOC_ARENA_MAX": "2",
}
_ERRORS = {error.code: error for error in (ParseFailed, EncryptedDocument, ParseLimit, NoText)}
_START_SECONDS = 60
# Longer texts are decoded in a thread, so that the event loop goes on.
_INLINE_BYTES = 2**16
# How a process ends that could not allocate memory, or used up its processor time.
_LIMIT_SIGNALS = (-signal.SIGABRT, -signal.SIGXCPU)


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """What one document may cost."""

    seconds: float = 120
    """Wall clock; processor time is held to about the same."""
    memory_bytes: int = 2 * 2**30
    """Address space of a child (Linux)."""
    text_chars: int = 20_000_000
    """Characters of text that come out."""
    documents_per_process: int = 1000
    """A child is replaced after so many documents."""
    recycle_bytes: int = 2**30
    """A child is replaced after the document that made it occupy more memory than this."""


class _KilledError(ParseFailed):
    """The child was killed by someone else."""


class ProcessParser:
    """Parser with `processes` children (None: one for every four processors, at least 1, at most 8).

    A child that crashes, hangs or outgrows its limits is killed and replaced; only its document fails.
    """

    def __init__(self, limits: ParserLimits | None = None, *, processes: int | None = None) -> None:
        self._limits = limits or ParserLimits()
        self._size = processes or min(max((os.cpu_count() or 1) // 4, 1), 8)
        # One entry for each child that may run: an idle one, or None where one has to be started first.
        self._slots: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        self._children: set[_Child] = set()
        self._open = False
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        return self._failure if self._open else "The parser is not running."

    @property
    def pids(self) -> Sequence[int]:
        """Process ids of the children that run now."""
        return [child.pid for child in self._children]

    async def start(self) -> None:
        """Starts every child. Raises Unavailable where one does not come up."""
        self._open = True
        try:
            started = await side_by_side(self._replace(None) for _ in range(self._size))
        except Unavailable:
            await self.close()
            raise
        for child in started:
            self._slots.put_nowait(child)

    async def close(self) -> None:
        """Kills the children. A document that is being parsed ends with Unavailable, so that it is tried again."""
        self._open = False
        self._slots = asyncio.LifoQueue()
        children = list(self._children)
        for child in children:
            self._discard(child)
        await asyncio.gather(*(child.wait() for child in children))

    async def parse(self, data: bytes, media_type: str) -> ParsedDocument:
        if media_type in PLAIN:
            # No parser is needed, and none can be harmed: thousands of short texts go this way.
            inline = len(data) <= _INLINE_BYTES
            text = _read_text(data) if inline else await asyncio.to_thread(_read_text, data)
            if text is not None:
                return self._checked(ParsedDocument(text, media_type))
        reply, body = await self._ask(data, media_type)
        if "error" in reply:
            raise _ERRORS[reply["error"]](reply["message"])
        pages = tuple(Page(number, start) for number, start in reply["pages"])
        return ParsedDocument(body.decode(), media_type, reply["title"], pages)

    def _checked(self, document: ParsedDocument) -> ParsedDocument:
        if not document.text:
            raise NoText("The document holds nothing but white space.")
        if len(document.text) > self._limits.text_chars:
            raise ParseLimit(
                f"The document's text has more than {self._limits.text_chars:,} characters. Split the document."
            )
        return document

    async def _ask(self, data: bytes, media_type: str) -> tuple[dict[str, Any], bytes]:
        slots = self._slots
        if not self._open:
            raise Unavailable("The parser is not running.")
        child = await slots.get()
        keep = None
        try:
            if child is None or child.ended:
                child = await self._replace(child)
            try:
                reply, body = await self._exchange(child, data, media_type)
            except _KilledError:
                # From outside, by a person or for want of memory, perhaps even before: not yet the document's fault.
                child = await self._replace(child)
                reply, body = await self._exchange(child, data, media_type)
            if not self._worn(child, reply):
                keep = child
            return reply, body
        finally:
            # Also after a cancellation: an interrupted child would answer the next question with this one's answer.
            if child is not keep and child is not None:
                self._discard(child)
            slots.put_nowait(keep)

    async def _exchange(self, child: "_Child", data: bytes, media_type: str) -> tuple[dict[str, Any], bytes]:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await child.ask(data, media_type)
        except TimeoutError:
            log.warning("parser timed out", media_type=media_type, bytes=len(data), seconds=self._limits.seconds)
            raise ParseLimit(f"Reading the document takes more than {self._limits.seconds:g} seconds.") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await child.wait()
        if not self._open:
            raise Unavailable("The parser was closed.")
        log.warning("parser crashed", media_type=media_type, bytes=len(data), status=status)
        if status in _LIMIT_SIGNALS:
            raise ParseLimit("Reading the document takes more memory or processor time than allowed.")
        error = _KilledError if status == -signal.SIGKILL else ParseFailed
        raise error(f"The parser crashed on the document (exit status {status}).")

    def _worn(self, child: "_Child", reply: dict[str, Any]) -> bool:
        limits = self._limits
        return child.documents >= limits.documents_per_process or reply["peak_bytes"] > limits.recycle_bytes

    async def _replace(self, ended: "_Child | None") -> "_Child":
        if ended:
            self._discard(ended)
        if not self._open:
            raise Unavailable("The parser was closed.")
        child = _Child(await _spawn(self._limits))
        self._children.add(child)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await child.receive()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            self._discard(child)
            self._failure = f"The parser process does not start (exit status {await child.wait()})."
            raise Unavailable(self._failure) from None
        except asyncio.CancelledError:
            self._discard(child)
            raise
        self._failure = None
        return child

    def _discard(self, child: "_Child") -> None:
        self._children.discard(child)
        child.kill()


class _Child:
    """One child process and the frames to and from it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin
        assert process.stdout
        self.documents = 0
        self._process = process
        self._requests = process.stdin
        self._replies = process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def ask(self, data: bytes, media_type: str) -> tuple[dict[str, Any], bytes]:
        self.documents += 1
        header = json.dumps({"media_type": media_type, "size": len(data)}).encode()
        self._requests.write(struct.pack(">I", len(header)) + header)
        self._requests.write(data)
        await self._requests.drain()
        return await self.receive()

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        (length,) = struct.unpack(">I", await self._replies.readexactly(4))
        header = json.loads(await self._replies.readexactly(length))
        return header, await self._replies.readexactly(header["size"])

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._requests.close()

    async def wait(self) -> int:
        return await self._process.wait()


async def _spawn(limits: ParserLimits) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "ingestion.parsers.child",
        str(math.ceil(limits.seconds)),
        str(limits.memory_bytes // 2**20),
        str(limits.text_chars),
        str(os.getpid()),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=_ENVIRONMENT,
        limit=2**20,
    )


def _read_text(data: bytes) -> str | None:
    text = decode(data)
    return None if text is None else normalize(text)
