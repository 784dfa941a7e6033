"""The parser port on a pool of child processes, each under limits, so that no document can harm the service or block
the others for long.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import structlog
from cachetools import LRUCache
from tokenizers import Tokenizer

from ingestion.errors import NoText, ParseFailed, ParseLimit, ParserBusy, ParserUnavailable
from ingestion.parsers.child_process import Answer, Child, Garbage, ParserLimits, Request, spawn
from ingestion.parsers.detect import PDF, PICTURES
from ingestion.parsers.inline import is_short, read_short
from ingestion.parsers.pages.ocr_state import OcrState, is_installed
from ingestion.pipeline.document_chunks import ChunkingPlan
from ingestion.types import ParsedDocument, ReadingOptions
from retrieval.gather_or_cancel import gather_or_cancel

log = structlog.get_logger()

SLICE_SECONDS = 5.0
"""A document that takes longer is a long document: it moves to one of the few places for long ones."""
HANG_SECONDS = 20.0
"""A child that has an unanswered request and uses no processor time for so long hangs."""
_LONG_KNOWN = 1024
"""Long documents that are remembered, so that a later try begins in such a place."""
_KEY_BYTES = 2**16
_TOKENIZERS_KEPT = 4
_START_SECONDS = 60
_OCR_KEPT = 1
"""Children with OCR that are kept when there is nothing for them to read: they are large."""
# How a process ends that could not allocate memory, or used up its processor time.
_LIMIT_SIGNALS = (-signal.SIGABRT, -signal.SIGXCPU)


class _LostError(ParseFailed):
    """The child was killed from outside, or hung: not yet attributed to the document."""


class _OcrBroken(ParserUnavailable):
    """The packages of OCR are installed but do not load."""


class ProcessParser:
    """Implements Parser with `processes` children for documents (None: one for every four processors, at least 1, at
    most 8), and up to `long_processes` more while long documents are read.

    Documents that need OCR are read by separate children, which are started with the first such document. `ocr` enables
    them.

    A child that crashes, hangs or exceeds its limits is killed and replaced; only its document fails.
    """

    def __init__(
        self,
        limits: ParserLimits | None = None,
        *,
        processes: int | None = None,
        long_processes: int = 1,
        ocr: bool = True,
    ) -> None:
        self._ocr_state: OcrState = "off" if not ocr else "ready" if is_installed() else "not_installed"
        self._limits = limits or ParserLimits()
        self._size = processes or min(max((os.cpu_count() or 1) // 4, 1), 8)
        # Both first come, first served.
        self._places = asyncio.Semaphore(self._size)
        self._long_places = asyncio.Semaphore(long_processes)
        self._long: LRUCache[int, bool] = LRUCache(_LONG_KNOWN)
        self._tokenizers: LRUCache[Tokenizer, bytes] = LRUCache(_TOKENIZERS_KEPT)
        self._idle: list[Child] = []
        self._children: set[Child] = set()
        self._open = False
        self._failure: str | None = None

    @property
    def failure(self) -> str | None:
        return self._failure if self._open else "The parser is not running."

    @property
    def processes(self) -> int:
        return self._size

    @property
    def pids(self) -> Sequence[int]:
        """Process ids of the running children."""
        return [child.pid for child in self._children]

    async def start(self) -> None:
        """Starts every child. Raises ParserUnavailable if one does not start."""
        self._open = True
        try:
            self._idle = await gather_or_cancel(self._start_child(ocr=False) for _ in range(self._size))
        except ParserUnavailable:
            await self.close()
            raise

    async def close(self) -> None:
        """Kills the children. Documents that are being parsed end with ParserUnavailable, so that they are retried."""
        self._open = False
        self._idle = []
        children = list(self._children)
        for child in children:
            self._discard(child)
        await asyncio.gather(*(child.wait() for child in children))

    async def parse(
        self,
        data: bytes,
        media_type: str,
        plan: ChunkingPlan | None = None,
        options: ReadingOptions | None = None,
    ) -> ParsedDocument:
        if plan is None and is_short(media_type, len(data)) and (text := read_short(data)) is not None:
            return self._checked(ParsedDocument(text, media_type))
        tokenizer = await self._serialized(plan.tokenizer) if plan else b""
        options = options or ReadingOptions()
        request = Request(data, media_type, plan, tokenizer, options.ocr, self._ocr_state, options.boilerplate)
        # What is known to need OCR is not read without it first.
        with_pictures = {"auto": PICTURES, "always": (PDF, *PICTURES), "never": ()}
        at_once = media_type in with_pictures[options.ocr]
        document = None
        if not (at_once and self._ocr_state == "ready"):
            document = await self._read_twice(request, ocr=False)
        if document is None:
            try:
                document = await self._read_twice(request, ocr=True)
            except _OcrBroken:
                log.warning("OCR does not start")
                document = await self._read_twice(replace(request, ocr_state="broken"), ocr=False)
        if document is None:
            raise ParseFailed("The parser failed on the document: its answer makes no sense.")
        return document

    async def _read_twice(self, request: Request, *, ocr: bool) -> ParsedDocument | None:
        """Returns None if the document needs OCR."""
        try:
            return await self._read(request, ocr=ocr)
        except _LostError:
            return await self._read(request, ocr=ocr)

    def _checked(self, document: ParsedDocument) -> ParsedDocument:
        if not document.text:
            raise NoText("The document holds nothing but white space.")
        if len(document.text) > self._limits.text_chars:
            raise ParseLimit(
                f"The document's text has more than {self._limits.text_chars:,} characters. Split the document."
            )
        return document

    async def _serialized(self, tokenizer: Tokenizer) -> bytes:
        known = self._tokenizers.get(tokenizer)
        if known is None:
            known = (await asyncio.to_thread(tokenizer.to_str)).encode()
            self._tokenizers[tokenizer] = known
        return known

    async def _read(self, request: Request, *, ocr: bool) -> ParsedDocument | None:
        key = hash((len(request.data), request.data[:_KEY_BYTES], request.data[-_KEY_BYTES:]))
        if key in self._long:
            self._ask_for_long_place()
            place = self._long_places
        else:
            place = self._places
        await place.acquire()
        reading: asyncio.Task[Answer] | None = None
        try:
            child = await self._take(ocr=ocr)
            reading = asyncio.create_task(self._exchange(child, request))
            if place is self._places:
                await asyncio.wait({reading}, timeout=SLICE_SECONDS)
                if not reading.done():
                    self._long[key] = True
                    self._ask_for_long_place()
                    await self._long_places.acquire()  # at once: nobody else had a turn in between
                    place.release()
                    place = self._long_places
            return _result(await reading)
        finally:
            if reading and not reading.done():
                # Ends with the child: what is cancelled or has to wait must not go on.
                reading.cancel()
                await asyncio.wait({reading})
            place.release()

    def _ask_for_long_place(self) -> None:
        if self._long_places.locked():
            raise ParserBusy("The document takes long to read, and others that do are being read: it is tried again.")

    async def _exchange(self, child: Child, request: Request) -> Answer:
        keep = False
        try:
            answer = await self._ask(child, request)
            limits = self._limits
            keep = child.documents < limits.documents_per_process and answer.peak_bytes <= limits.recycle_bytes
            return answer
        finally:
            # Also after a cancellation: an interrupted child would answer the next question with this one's answer.
            if keep and self._open and sum(idle.ocr == child.ocr for idle in self._idle) < self._most_idle(child):
                self._idle.append(child)
            else:
                self._discard(child)

    def _most_idle(self, child: Child) -> int:
        return _OCR_KEPT if child.ocr else self._size

    async def _ask(self, child: Child, request: Request) -> Answer:
        about = {"media_type": request.media_type, "bytes": len(request.data)}
        watching = asyncio.create_task(_kill_hung(child))
        try:
            async with asyncio.timeout(self._limits.clock_seconds(ocr=child.ocr)):
                return await child.ask(request)
        except TimeoutError:
            log.warning("parser timed out", cpu_seconds=child.cpu_seconds(), **about)
            raise self._too_long() from None
        except Garbage:
            log.warning("parser answered nonsense", **about)
            raise ParseFailed("The parser failed on the document: its answer makes no sense.") from None
        except (asyncio.IncompleteReadError, OSError):
            status = await child.wait()
        finally:
            watching.cancel()
        if not self._open:
            raise ParserUnavailable("The parser was closed.")
        log.warning("parser crashed", status=status, **about)
        if status == -signal.SIGXCPU:
            raise self._too_long()
        if status in _LIMIT_SIGNALS:
            raise ParseLimit("Reading the document takes more memory than allowed.")
        error = _LostError if status == -signal.SIGKILL else ParseFailed
        raise error(f"The parser crashed on the document (exit status {status}).")

    def _too_long(self) -> ParseLimit:
        return ParseLimit(
            f"Reading and chunking the document takes more than {self._limits.seconds:g} seconds of processor time. "
            "Split the document."
        )

    async def _take(self, *, ocr: bool) -> Child:
        for child in [child for child in reversed(self._idle) if child.ocr == ocr]:
            self._idle.remove(child)
            if not child.ended:
                return child
            self._discard(child)
        return await self._start_child(ocr=ocr)

    async def _start_child(self, *, ocr: bool) -> Child:
        if not self._open:
            raise ParserUnavailable("The parser was closed.")
        child: Child | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                child = await spawn(self._limits, ocr=ocr)
                self._children.add(child)
                await child.ready()
        except (TimeoutError, asyncio.IncompleteReadError, Garbage, OSError, RuntimeError) as error:
            status, line = "", str(error)
            if child:
                self._discard(child)
                status = f", exit status {await child.wait()}"
                line = await child.last_line() or line
            if ocr and self._open and isinstance(error, asyncio.IncompleteReadError):
                raise _OcrBroken("The process for OCR does not start.") from None
            self._failure = f"The parser process does not start ({type(error).__name__}{status}): {line}"
            log.warning("parser does not start", reason=line, error=type(error).__name__)
            raise ParserUnavailable(self._failure) from None
        except asyncio.CancelledError:
            if child:
                self._discard(child)
            raise
        self._failure = None
        return child

    def _discard(self, child: Child) -> None:
        self._children.discard(child)
        with suppress(OSError, RuntimeError):
            child.kill()


async def _kill_hung(child: Child) -> None:
    """Kills the child if it hangs; runs while the child has a request."""
    used = child.cpu_seconds()
    while True:
        await asyncio.sleep(HANG_SECONDS)
        before, used = used, child.cpu_seconds()
        if used is not None and used == before:
            log.warning("parser hangs", seconds=HANG_SECONDS)
            child.kill()
            return


def _result(answer: Answer) -> ParsedDocument | None:
    if isinstance(answer.result, ParseFailed):
        raise answer.result
    return answer.result
