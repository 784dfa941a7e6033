"""The client for programs that run in an event loop."""

from asyncio import sleep, to_thread
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Self, TypeVar

import httpx

from langchain_tandem.client import batching, calls
from langchain_tandem.client.batching import Files, Json
from langchain_tandem.client.calls import ENDED, Call, Lane, TextKind
from langchain_tandem.client.errors import TandemClientError
from langchain_tandem.client.events import EventDecoder
from langchain_tandem.client.exchange import Exchange, Flow, Pause, Secret, authorization
from langchain_tandem.client.retrying import LONG_RETRIES, SHORT_RETRIES, Retries

T = TypeVar("T")


class AsyncTandemClient:
    """The methods of TandemClient, to be awaited. One connection pool, which belongs to one event loop: close it with
    `aclose`, or use the client in an `async with` block."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | Secret | None = None,
        *,
        timeout: float = 60.0,
        retries: Retries = SHORT_RETRIES,
        ingest_retries: Retries = LONG_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._exchange = Exchange(url, retries, ingest_retries)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=authorization(api_key),
            timeout=httpx.Timeout(timeout, connect=calls.CONNECT_SECONDS),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncTandemClient({self.url!r})"

    @property
    def url(self) -> str:
        return self._exchange.url

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ready(self) -> tuple[bool, Json]:
        return await self._call(calls.ready())

    async def search(self, query: str, **options: Any) -> Json:
        return await self._call(calls.search(query, options))

    async def search_many(self, queries: Sequence[str], **options: Any) -> list[Json]:
        return await self._run(self._exchange.search_many(queries, options))

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane = "bulk", instruction: str | None = None
    ) -> list[list[float]]:
        return await self._run(self._exchange.embed(texts, kind, lane, instruction))

    async def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None
    ) -> list[tuple[int, float]]:
        return await self._call(calls.rerank(query, documents, top_n))

    async def ingest(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        collection: str = "docs",
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        return await self._call(calls.ingest(documents, collection, idempotency_key, options))

    async def ingest_files(
        self, collection: str, files: Files, *, idempotency_key: str | None = None, **options: Any
    ) -> Json:
        contents = await to_thread(batching.read_files, files)
        return await self._call(calls.ingest_files(collection, contents, idempotency_key, options))

    async def ingest_all(
        self, documents: Iterable[Mapping[str, Any]], *, collection: str = "docs", **options: Any
    ) -> list[Json]:
        batches = batching.batches(documents, batching.size_of)
        jobs = [(await self.ingest(each, collection=collection, **options))["job_id"] for each in batches]
        receipts: list[Json] = []
        for job_id in jobs:
            async for _ in self.watch(job_id):
                pass
            receipts += (await self.job(job_id, receipts=True))["documents"]
        return batching.checked(receipts)

    async def job(self, job_id: str, *, receipts: bool = False) -> Json:
        return await self._run(self._exchange.job(job_id, receipts=receipts))

    async def watch(self, job_id: str) -> AsyncGenerator[Json]:
        retry_state = self._exchange.retry_state()
        while True:
            try:
                async with aclosing(self._events(job_id)) as events:
                    async for job in events:
                        retry_state = self._exchange.retry_state()
                        yield job
                        if job["state"] in ENDED:
                            return
                failure: TandemClientError = self._exchange.interrupted(job_id)
            except (httpx.RequestError, TandemClientError) as error:
                failure = self._exchange.failure(error)
            await sleep(retry_state.pause(failure, answered=True))

    async def cancel(self, job_id: str) -> Json:
        return await self._call(calls.cancel(job_id))

    async def documents(self, collection: str = "docs") -> AsyncGenerator[Json]:
        cursor = None
        while True:
            page = await self._call(calls.documents(collection, cursor))
            for document in page["documents"]:
                yield document
            if not (cursor := page["next_cursor"]):
                return

    async def document(self, document_id: str, *, collection: str = "docs") -> Json:
        return await self._call(calls.document(document_id, collection))

    async def original(self, document_id: str, *, collection: str = "docs") -> bytes:
        return await self._call(calls.original(document_id, collection))

    async def delete_document(self, document_id: str, *, collection: str = "docs") -> None:
        await self._call(calls.delete_document(document_id, collection))

    async def create_collection(self, name: str, **settings: Any) -> Json:
        return await self._call(calls.create_collection(name, settings))

    async def collections(self) -> list[Json]:
        return await self._call(calls.collections())

    async def collection(self, name: str) -> Json:
        return await self._call(calls.collection(name))

    async def delete_collection(self, name: str) -> None:
        await self._call(calls.delete_collection(name))

    async def reembed(self, name: str, **plan: Any) -> Json:
        return await self._call(calls.reembed(name, plan))

    async def reembedding(self, name: str) -> Json:
        return await self._call(calls.reembedding(name))

    async def rollback(self, name: str) -> Json:
        return await self._call(calls.rollback(name))

    async def audit(self, collection: str | None = None, *, repair: bool = False) -> Json:
        return await self._call(calls.audit(collection, repair=repair))

    async def _events(self, job_id: str) -> AsyncGenerator[Json]:
        decoder = EventDecoder()
        async with self._http.stream("GET", calls.job_events(job_id), timeout=calls.STREAM_TIMEOUT) as response:
            if not response.is_success:
                await response.aread()
                raise self._exchange.refusal(response)
            async for chunk in response.aiter_bytes():
                for data in decoder.feed(chunk):
                    yield self._exchange.event(data)

    async def _call(self, call: Call[T]) -> T:
        return await self._run(self._exchange.once(call))

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    response = await self._http.send(calls.to_request(self._http, step))
                except httpx.RequestError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
