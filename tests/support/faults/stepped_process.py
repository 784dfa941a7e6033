"""Processes that stop before each of their writes, and go on when they are told, and a vector store in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from retrieval.text.passages import passage_of
from retrieval.types import ChunkId, DocumentId, EmbeddedChunk, StoredText, Vector
from tests.support.faults.crashes import Crash, Life

STOPS = frozenset({"store.upsert", "store.prune", "store.delete", "catalog.complete", "catalog.remove_document"})
"""The calls at which others may come in between. `catalog.claim_document` is one as well, for who waits for a lease."""


class MemoryStore:
    """As much of a VectorStore as ingestion needs."""

    failure: str | None = None

    def __init__(self) -> None:
        self.rows: dict[str, dict[ChunkId, EmbeddedChunk]] = {}

    def of(self, name: str, document_id: DocumentId | None = None) -> dict[ChunkId, EmbeddedChunk]:
        rows = self.rows.setdefault(name, {})
        return {id_: row for id_, row in rows.items() if document_id in (None, row.chunk.document_id)}

    async def has_sections(self, name: str) -> bool:
        return True

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        self.rows.setdefault(name, {}).update((row.chunk.id, row) for row in rows)

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        for document_id, ids in keep.items():
            await self.delete(name, [id_ for id_ in self.of(name, document_id) if id_ not in ids])

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        for id_ in ids:
            self.rows.setdefault(name, {}).pop(id_, None)

    async def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        yield [StoredText(id_, passage_of(row.title, row.chunk)) for id_, row in self.of(name, document_id).items()]

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        rows = self.of(name)
        return {id_: rows[id_].vector for id_ in ids if id_ in rows}

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        return set(ids) & self.of(name).keys()

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        return len(self.of(name, document_id))


class SteppedProcess(Life):
    """Stops before each call in STOPS, and before `claim_document` after the first one."""

    def __init__(self) -> None:
        super().__init__()
        self._turns: list[asyncio.Future[None]] = []
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    async def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs `work` to its first stop."""
        self._task = asyncio.create_task(work)
        await self._until_stopped()

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def error(self) -> BaseException | None:
        """What it ended with, but for deaths that were asked for."""
        assert self._task is not None
        if self._task.cancelled():
            return None
        error = self._task.exception()
        return None if isinstance(error, Crash) else error

    async def go_on(self, error: BaseException | None = None) -> None:
        """To the next stop, or with `error` in place of the call that it stopped before."""
        turn = self._turns.pop(0)
        if not self._turns:
            self._stopped.clear()
        if isinstance(error, Crash):
            self.over.set()
        if error is None:
            turn.set_result(None)
        else:
            turn.set_exception(error)
        await self._until_stopped()

    async def drain(self) -> None:
        """It is stopped in an orderly manner; what it had asked for is carried out."""
        assert self._task is not None
        self._task.cancel()
        for turn in self._turns:
            if not turn.done():
                turn.cancel()
        self._turns.clear()
        self._stopped.clear()
        await self._until_stopped()

    async def call(self, step: str, work: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        self._live()
        self.calls[step] += 1
        if step in STOPS or (step == "catalog.claim_document" and self.calls[step] > 1):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            self._stopped.set()
            await turn
        self._live()
        if "now" in kwargs:
            kwargs["now"] += self.ahead()
        return await work(*args, **kwargs)

    async def _until_stopped(self) -> None:
        assert self._task is not None
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([self._task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
