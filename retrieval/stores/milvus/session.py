"""Calls to one Milvus server, adapted to this server: traits, turns of writers, loading, flushing."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from retrieval.errors import StoreUnavailable
from retrieval.stores.milvus.connection import MilvusConnection
from retrieval.stores.milvus.errors import NotLoaded
from retrieval.stores.milvus.expressions import Value, condition
from retrieval.stores.milvus.schema import ServerTraits, server_traits
from retrieval.stores.milvus.turns import Turns
from retrieval.stores.milvus_lite.flush import QuietFlush
from retrieval.stores.milvus_lite.server import MilvusLiteServer


class MilvusSession:
    """`endpoint` is the URI of a server, or a Milvus Lite server that this session then owns.

    A server that goes away and comes back needs no new session: calls fail with StoreUnavailable meanwhile, and
    collections that it has not loaded again are loaded at their first use.
    """

    def __init__(
        self, endpoint: str | MilvusLiteServer, token: str, *, read_seconds: float, write_seconds: float
    ) -> None:
        """`read_seconds` and `write_seconds` are the timeouts of calls."""
        self._endpoint = endpoint
        self._token = token
        self._connection: MilvusConnection | None = None
        self._traits: ServerTraits | None = None
        self._read_seconds = read_seconds
        self._write_seconds = write_seconds
        self._one_at_a_time = Turns()
        self._flushing = QuietFlush(self._flush)

    async def start(self) -> None:
        """Connects. Raises ConfigurationError. A remote server that is away is not an error: `failure` reports it."""
        if isinstance(self._endpoint, MilvusLiteServer):
            self._endpoint.on_lost = self._lost
            await self._endpoint.start()
            uri = self._endpoint.uri
        else:
            uri = self._endpoint
        self._connection = MilvusConnection(uri, self._token)
        try:
            await self._connection.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._flushing.close()
        if self._connection is not None:
            await self._connection.close()
        if isinstance(self._endpoint, MilvusLiteServer):
            await self._endpoint.close()

    @property
    def failure(self) -> str | None:
        if isinstance(self._endpoint, MilvusLiteServer) and self._endpoint.failure is not None:
            return self._endpoint.failure
        if self._connection is None:
            return "The vector store has not been started."
        return self._connection.failure

    async def traits(self) -> ServerTraits:
        if self._traits is None:
            ours = isinstance(self._endpoint, MilvusLiteServer)
            self._traits = server_traits(await self.read("get_server_version"), ours=ours)
        return self._traits

    async def turn(self) -> AbstractAsyncContextManager[object]:
        """Returns the turn to hold around writes and queries. Milvus Lite protects a collection neither against two
        writers, nor a reader against the flush that a writer causes (rows that move from memory into a file are in
        neither for a moment).
        """
        return nullcontext() if (await self.traits()).concurrent_writes else self._one_at_a_time.turn()

    async def read(self, method: str, /, *args: object, **kwargs: Any) -> Any:
        return await self._open.call(method, *args, timeout_s=self._read_seconds, **kwargs)

    async def write(self, method: str, /, *args: object, **kwargs: Any) -> Any:
        """Calls a method that writes. The caller holds `turn`."""
        began = self._one_at_a_time.began
        return await self._open.call(method, *args, timeout_s=self._write_seconds, began=began, **kwargs)

    def require_room(self) -> None:
        """Raises StoreFull if the disk of an embedded store has no room for more data."""
        if isinstance(self._endpoint, MilvusLiteServer):
            self._endpoint.require_room()

    async def upsert(self, name: str, rows: list[dict[str, Any]]) -> None:
        self.require_room()
        async with await self.turn():
            await self.write("upsert", name, rows)
        await self._written(name)

    async def delete(self, name: str, which: Mapping[str, Any]) -> None:
        """Deletes rows. `which` is a result of `filter`, here and in `query`."""
        async with await self.turn():
            await self._loaded("delete", name, timeout_s=self._write_seconds, began=self._one_at_a_time.began, **which)
        await self._written(name)

    async def query(
        self,
        name: str,
        fields: Sequence[str],
        which: Mapping[str, Any],
        *,
        rows: int | None = None,
        strong: bool = True,
    ) -> Sequence[Mapping[str, Any]]:
        """Returns the named fields of each row. `rows` limits the result to that many rows, the first in the order of
        their ids. Unless `strong`, it may miss what was just written, as a search may.
        """
        first: dict[str, Any] = {} if rows is None else {"limit": rows}
        if first and (await self.traits()).orders_iterators_only:
            first["iterator"] = "True"
        async with await self.turn():
            found: Sequence[Mapping[str, Any]] = await self._loaded(
                "query",
                name,
                timeout_s=self._read_seconds,
                began=self._one_at_a_time.began,
                output_fields=list(fields),
                consistency_level="Strong" if strong else "Bounded",
                **first,
                **which,
            )
        return found

    async def search(self, name: str, **kwargs: object) -> Any:
        concurrent = (await self.traits()).search_during_writes
        if concurrent:
            return await self._loaded("search", name, timeout_s=self._read_seconds, **kwargs)
        async with await self.turn():
            return await self._loaded(
                "search", name, timeout_s=self._read_seconds, began=self._one_at_a_time.began, **kwargs
            )

    async def filter(self, template: str, **values: Value) -> Mapping[str, Any]:
        """Returns arguments that select the rows for which `template` holds."""
        return condition(template, values, templates=(await self.traits()).templates)

    @property
    def _open(self) -> MilvusConnection:
        if self._connection is None:
            raise RuntimeError("MilvusStore is used before start().")
        if isinstance(self._endpoint, MilvusLiteServer) and (away := self._endpoint.away) is not None:
            raise StoreUnavailable(f"The vector store does not answer. {away}")
        return self._connection

    def _lost(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.lose(reason)

    async def _written(self, name: str) -> None:
        if (await self.traits()).slow_until_flushed:
            self._flushing.written(name)

    async def _flush(self, name: str) -> None:
        async with self._one_at_a_time.turn():
            await self.write("flush", name)

    async def _loaded(self, method: str, name: str, /, *, timeout_s: float, **kwargs: Any) -> Any:
        """Calls a method on a collection, loading it if needed: some servers lose the loaded state at a restart."""
        try:
            return await self._open.call(method, name, timeout_s=timeout_s, **kwargs)
        except NotLoaded:
            await self._open.call("load_collection", name, timeout_s=self._write_seconds)
            return await self._open.call(method, name, timeout_s=timeout_s, **kwargs)
