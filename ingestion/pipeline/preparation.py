"""Fetches, parses and chunks the originals of a batch, passes them on as they are done, and stops cancelled ones."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from time import monotonic

import structlog

from ingestion.errors import BlobMissing, Cancelled, NoText
from ingestion.parsers.inline import is_short
from ingestion.pipeline.document_chunks import ChunkedDocument, ChunkingPlan, chunk_document, plan_for
from ingestion.pipeline.outcomes import failure
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.types import Claim, Outcome, ParsedDocument, ReadingOptions
from retrieval.errors import TandemError
from retrieval.ports import Embedder

log = structlog.get_logger()

TURN_SECONDS = 10.0
"""After this long a batch starts no further document that needs a parser: those are given back, so that other callers'
documents are claimed before them.
"""
LOOK_SECONDS = 1.0
"""Seconds between checks for cancelled documents; finished documents are handed on at the same time."""


class Turn:
    """The time in which one batch may start documents that need a parser: TURN_SECONDS from the first one on."""

    def __init__(self) -> None:
        self._ends: float | None = None

    @property
    def over(self) -> bool:
        return self._ends is not None and monotonic() >= self._ends

    def begin(self) -> None:
        if self._ends is None:
            self._ends = monotonic() + TURN_SECONDS


@dataclass(slots=True)
class Prepared:
    documents: list[tuple[Claim, ChunkedDocument]] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.documents or self.failed)

    def add(self, claim: Claim, document: ChunkedDocument | TandemError) -> None:
        if isinstance(document, TandemError):
            self.failed.append(failure(claim, document))
        elif document.spans:
            self.documents.append((claim, document))
        else:
            self.failed.append(failure(claim, NoText("The document holds no text.")))


class Preparation:
    def __init__(self, catalog: Catalog, blobs: BlobStore, parser: Parser) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._parser = parser

    async def run(
        self, embedder: Embedder, claims: Sequence[Claim], turn: Turn, *, sections: bool = True
    ) -> AsyncGenerator[Prepared, None]:
        """Yields each claim once, except those that had not started when the turn was over. Closed early, it kills
        running parses. `sections`: whether the collection of the claims keeps sections.
        """
        short = [claim for claim in claims if _is_short(claim)]
        waiting = deque(claim for claim in claims if not _is_short(claim) and not turn.over)
        try:
            blobs = await self._blobs.get({claim.record.document.sha256 for claim in (*short, *waiting)})
        except TandemError as error:
            yield Prepared(failed=[failure(claim, error) for claim in (*short, *waiting)])
            return
        if short and (prepared := await self._prepare_short(embedder, short, blobs, sections)):
            yield prepared
        running: dict[asyncio.Task[ChunkedDocument | TandemError], Claim] = {}
        prepared, looked = Prepared(), monotonic()
        try:
            while running or (waiting and not turn.over):
                while waiting and len(running) < self._parser.processes and not turn.over:
                    turn.begin()
                    claim = waiting.popleft()
                    running[asyncio.create_task(self._parse_and_chunk(embedder, claim, blobs, sections))] = claim
                pause = max(looked + LOOK_SECONDS - monotonic(), 0)
                done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    prepared.add(running.pop(task), task.result())
                if monotonic() >= looked + LOOK_SECONDS:
                    prepared.failed += await self._stop_cancelled(running)
                    if prepared:
                        yield prepared
                    prepared, looked = Prepared(), monotonic()
            if prepared:
                yield prepared
        finally:
            await _cancel(list(running))

    async def _prepare_short(
        self, embedder: Embedder, claims: Sequence[Claim], blobs: Mapping[str, bytes], sections: bool
    ) -> Prepared:
        parsed = await asyncio.gather(*(self._parse(claim, blobs, None) for claim in claims))
        stop = Event()
        try:
            # One thread for all: a switch for each of many short documents would cost more than the work.
            return await asyncio.to_thread(_chunk, embedder, claims, parsed, stop, sections)
        finally:
            stop.set()

    async def _parse_and_chunk(
        self, embedder: Embedder, claim: Claim, blobs: Mapping[str, bytes], sections: bool
    ) -> ChunkedDocument | TandemError:
        document = claim.record.document
        parsed = await self._parse(claim, blobs, plan_for(document, embedder))
        if isinstance(parsed, TandemError):
            return parsed
        # In a thread, for the language is detected as well.
        return await asyncio.to_thread(chunk_document, document, parsed, embedder, sections=sections)

    async def _parse(
        self, claim: Claim, blobs: Mapping[str, bytes], plan: ChunkingPlan | None
    ) -> ParsedDocument | TandemError:
        document = claim.record.document
        data = blobs.get(document.sha256)
        if data is None:
            return BlobMissing("The original is missing or damaged: ingest the document again.", sha256=document.sha256)
        try:
            options = ReadingOptions(document.ocr, document.boilerplate)
            return await self._parser.parse(data, document.media_type, plan, options)
        except TandemError as error:
            return error

    async def _stop_cancelled(self, running: dict[asyncio.Task[ChunkedDocument | TandemError], Claim]) -> list[Outcome]:
        """Stops parsing documents that were cancelled or whose lease is lost, and returns their outcomes."""
        try:
            tokens = await self._catalog.cancelled(list(running.values())) if running else set()
        except TandemError as error:
            log.warning("not known whether documents were cancelled", code=error.code, reason=error.message)
            return []
        # For work that was interrupted while replacing a version, the writer knows whether that version is still
        # complete.
        stopped = {
            task: claim for task, claim in running.items() if claim.token in tokens and not claim.record.rollback_ids
        }
        await _cancel(list(stopped))
        for task in stopped:
            del running[task]
        cancelled = Cancelled("The job was cancelled while the document was read.")
        return [failure(claim, cancelled) for claim in stopped.values()]


def _is_short(claim: Claim) -> bool:
    return is_short(claim.record.document.media_type, claim.record.document.size)


def _chunk(
    embedder: Embedder,
    claims: Sequence[Claim],
    parsed: Sequence[ParsedDocument | TandemError],
    stop: Event,
    sections: bool,
) -> Prepared:
    prepared = Prepared()
    for claim, result in zip(claims, parsed, strict=True):
        if stop.is_set():
            break
        if isinstance(result, TandemError):
            prepared.add(claim, result)
        else:
            prepared.add(claim, chunk_document(claim.record.document, result, embedder, sections=sections))
    return prepared


async def _cancel(tasks: Sequence[asyncio.Task[ChunkedDocument | TandemError]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
