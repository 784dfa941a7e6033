"""What happens to a batch of claimed documents: parse, chunk, embed, upsert, prune, read back.

Every step can be repeated: chunk ids follow from the content, writes are upserts, and what is not of this version is
pruned. A crash anywhere therefore costs time only.
"""

import asyncio
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice

import structlog

from ingestion.chunking import chunk_id, chunk_spans
from ingestion.collections import check_fingerprint
from ingestion.errors import BlobMissing, NoText
from ingestion.parsers.detect import becomes_markdown
from ingestion.ports import BlobStore, Catalog, Parser
from ingestion.types import Claim, Collection, Document, DocumentError, Outcome, ParsedDocument
from retrieval.errors import EngineFailed, TandemError, Unavailable
from retrieval.passages import fit_title, passage
from retrieval.ports import Embedder, VectorStore
from retrieval.types import Chunk, ChunkId, DocumentId, EmbeddedChunk, Lane

log = structlog.get_logger()

PORTION_BYTES = 64 * 2**20
"""Originals that are read at a time. A single larger one is read alone."""
WINDOW_CHUNKS = 256
"""Chunks that are embedded and written at a time: several full engine steps, and a bound on the memory for vectors."""


_HEADING = re.compile(r"\s*# +([^\n]{1,500}?)[ #]*(?:\n|$)")


class NotReadBack(Unavailable):
    """The store accepted chunks and a strongly consistent read did not find them."""

    code = "not_read_back"


@dataclass(slots=True)
class _Work:
    """One claim on its way through the steps."""

    claim: Claim
    title: str
    chunks: Sequence[Chunk]
    tokens: int = 0
    truncated_tokens: int = 0
    ids: set[ChunkId] = field(default_factory=set)


class Pipeline:
    def __init__(
        self, *, catalog: Catalog, blobs: BlobStore, parser: Parser, embedder: Embedder, store: VectorStore
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._parser = parser
        self._embedder = embedder
        self._store = store

    @property
    def failure(self) -> str | None:
        """Why no document could be ingested now, whatever it holds."""
        return self._embedder.failure or self._store.failure or self._blobs.failure

    async def run(self, claims: Sequence[Claim]) -> list[Outcome]:
        """One outcome for each claim, in no particular order. Failures are outcomes, never exceptions of the batch.

        `Outcome.retry_at` is left to the worker, which knows how often was tried.
        """
        outcomes: list[Outcome] = []
        by_collection: dict[str, list[Claim]] = {}
        for claim in claims:
            by_collection.setdefault(claim.record.document.collection, []).append(claim)
        for name, group in by_collection.items():
            try:
                collection = await self._catalog.collection(name)
                check_fingerprint(collection, self._embedder.fingerprint)
            except TandemError as error:
                outcomes.extend(failure(claim, error) for claim in group)
                continue
            for portion in _portions(group):
                outcomes.extend(await self._run_portion(collection, portion))
        return outcomes

    async def _run_portion(self, collection: Collection, claims: Sequence[Claim]) -> list[Outcome]:
        try:
            blobs = await self._blobs.get({claim.record.document.sha256 for claim in claims})
        except TandemError as error:
            return [failure(claim, error) for claim in claims]
        parsed = await asyncio.gather(*(self._parse(claim, blobs) for claim in claims))
        prepared = await asyncio.to_thread(self._chunk, collection, claims, parsed)
        failed = [result for result in prepared if isinstance(result, Outcome)]
        works = [result for result in prepared if isinstance(result, _Work)]
        return failed + await self._write(collection, works)

    async def _parse(self, claim: Claim, blobs: Mapping[str, bytes]) -> ParsedDocument | TandemError:
        document = claim.record.document
        data = blobs.get(document.sha256)
        if data is None:
            return BlobMissing("The original is missing or damaged: ingest the document again.", sha256=document.sha256)
        try:
            return await self._parser.parse(data, document.media_type)
        except TandemError as error:
            return error

    def _chunk(
        self, collection: Collection, claims: Sequence[Claim], parsed: Sequence[ParsedDocument | TandemError]
    ) -> list[_Work | Outcome]:
        """In one thread for all: a switch for each of many short documents would cost more than the work."""
        results: list[_Work | Outcome] = []
        for claim, result in zip(claims, parsed, strict=True):
            if isinstance(result, TandemError):
                results.append(failure(claim, result))
                continue
            title, chunks = cut(claim.record.document, result, self._embedder, collection.fingerprint.digest)
            if chunks:
                results.append(_Work(claim, title, chunks, ids={chunk.id for chunk in chunks}))
            else:
                results.append(failure(claim, NoText("The document holds no text.")))
        return results

    async def _write(self, collection: Collection, works: Sequence[_Work]) -> list[Outcome]:
        if not works:
            return []
        try:
            await self._embed_and_upsert(collection, works)
            await self._prune(collection, works)
            return await self._read_back(collection, works)
        except EngineFailed as error:
            # One text of the batch is to blame; alone, each document gets its own verdict.
            if len(works) == 1:
                return [failure(works[0].claim, error)]
            return [outcome for work in works for outcome in await self._write(collection, [work])]
        except TandemError as error:
            return [failure(work.claim, error) for work in works]

    async def _embed_and_upsert(self, collection: Collection, works: Sequence[_Work]) -> None:
        """Packs chunks of all documents into windows; the next window is embedded while the last one is written."""
        for work in works:
            work.tokens = work.truncated_tokens = 0
        stream = ((work, chunk) for work in works for chunk in work.chunks)
        writing: asyncio.Task[None] | None = None
        try:
            while window := list(islice(stream, WINDOW_CHUNKS)):
                texts = [passage(work.title, chunk.text) for work, chunk in window]
                embeddings = await self._embedder.embed(texts, kind="document", lane=Lane.BULK)
                rows = []
                for place, (work, chunk) in enumerate(window):
                    work.tokens += embeddings.tokens[place]
                    work.truncated_tokens += embeddings.truncated_tokens[place]
                    document = work.claim.record.document
                    rows.append(
                        EmbeddedChunk(
                            chunk=chunk,
                            vector=embeddings.vectors[place],
                            title=work.title,
                            media_type=document.media_type,
                            partition=document.partition,
                            metadata=document.metadata,
                            ingested_at=work.claim.record.ingested_at,
                        )
                    )
                if writing:
                    await writing
                writing = asyncio.create_task(self._store.upsert(collection.store_name, rows))
            if writing:
                await writing
        finally:
            if writing and not writing.done():
                writing.cancel()

    async def _prune(self, collection: Collection, works: Sequence[_Work]) -> None:
        """Removes chunks of earlier versions and of attempts that broke off. A first attempt at a first version has
        written nothing before, so there is nothing to look for."""
        keep: dict[DocumentId, set[ChunkId]] = {
            work.claim.record.document.id: work.ids
            for work in works
            if work.claim.record.version > 1 or work.claim.record.attempts > 1
        }
        if keep:
            await self._store.prune(collection.store_name, keep)

    async def _read_back(self, collection: Collection, works: Sequence[_Work]) -> list[Outcome]:
        wanted = [chunk_id for work in works for chunk_id in work.ids]
        found = await self._store.present(collection.store_name, wanted)
        now = datetime.now(UTC)
        outcomes = []
        for work in works:
            missing = len(work.ids - found)
            if missing:
                error = NotReadBack(f"{missing} of {len(work.ids)} chunks were written and not found afterwards.")
                outcomes.append(failure(work.claim, error))
            else:
                outcomes.append(
                    Outcome(
                        work.claim,
                        chunks=len(work.chunks),
                        tokens=work.tokens,
                        truncated_tokens=work.truncated_tokens,
                        searchable_at=now,
                    )
                )
        return outcomes


def first_heading(parsed: ParsedDocument) -> str:
    """The heading that a Markdown text begins with; empty where it begins otherwise."""
    match = _HEADING.match(parsed.text) if becomes_markdown(parsed.media_type) else None
    return match[1] if match else ""


def cut(
    document: Document, parsed: ParsedDocument, embedder: Embedder, fingerprint_digest: str
) -> tuple[str, list[Chunk]]:
    """The title that every chunk is embedded with, and the chunks, sized so that both fit the embedder's window."""
    title = document.title or parsed.title or first_heading(parsed)
    title, title_tokens = fit_title(title, embedder.tokenizer)
    room = embedder.max_tokens - title_tokens
    max_tokens = min(document.chunking.max_tokens, room)
    spans = chunk_spans(
        parsed.text,
        tokenizer=embedder.tokenizer,
        max_tokens=max_tokens,
        overlap=min(document.chunking.overlap, max_tokens // 2),
        media_type=parsed.media_type,
    )
    starts = [page.start for page in parsed.pages]
    chunks = []
    for ordinal, span in enumerate(spans):
        text = parsed.text[span.start : span.end]
        page = max(bisect_right(starts, span.start) - 1, 0) if starts else None
        chunks.append(
            Chunk(
                id=chunk_id(document.id, ordinal, text, fingerprint_digest),
                document_id=document.id,
                ordinal=ordinal,
                text=text,
                start=span.start,
                end=span.end,
                tokens=span.tokens,
                page=None if page is None else parsed.pages[page].number,
            )
        )
    return title, chunks


def _portions(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    portion: list[Claim] = []
    size = 0
    for claim in claims:
        if portion and size + claim.record.document.size > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(claim)
        size += claim.record.document.size
    if portion:
        yield portion


def failure(claim: Claim, error: TandemError) -> Outcome:
    """The outcome of a claim that `error` ended. A retryable one has a `retry_at` of now, for the worker to move."""
    log.info("document failed", collection=claim.record.document.collection, code=error.code, retryable=error.retryable)
    return Outcome(
        claim,
        error=DocumentError(error.code, error.message),
        retry_at=datetime.now(UTC) if error.retryable else None,
    )
