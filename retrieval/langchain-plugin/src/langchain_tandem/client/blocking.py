"""The client for programs that wait for each answer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from time import sleep
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


class TandemClient:
    """A node's HTTP interface. One connection pool: close it, or use the client in a `with` block. Safe to share among
    threads.

    Answers are the node's JSON as dictionaries. Options that methods take by name are the fields of the same name in
    the node's API, described at its `/docs`; None counts as not given. Every method raises what is in
    `langchain_tandem.client.errors`: NodeUnreachable and Refused, with their kin.

    Calls that a repetition may help are repeated, within `retries`; sending documents and following jobs within
    `ingest_retries`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | Secret | None = None,
        *,
        timeout: float = 60.0,
        retries: Retries = SHORT_RETRIES,
        ingest_retries: Retries = LONG_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url` and `api_key`: unless given TANDEM_URL, or this machine, and TANDEM_API_KEY; "" for no key.
        `timeout`: seconds without a byte of an answer, for calls that are not known to take long."""
        self._exchange = Exchange(url, retries, ingest_retries)
        self._http = httpx.Client(
            base_url=self.url,
            headers=authorization(api_key),
            timeout=httpx.Timeout(timeout, connect=calls.CONNECT_SECONDS),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TandemClient({self.url!r})"

    @property
    def url(self) -> str:
        return self._exchange.url

    def close(self) -> None:
        self._http.close()

    def ready(self) -> tuple[bool, Json]:
        """Whether the node is ready, and what it says of itself. Asked once."""
        return self._call(calls.ready())

    def search(self, query: str, **options: Any) -> Json:
        return self._call(calls.search(query, options))

    def search_many(self, queries: Sequence[str], **options: Any) -> list[Json]:
        """An answer for each question, in their order."""
        return self._run(self._exchange.search_many(queries, options))

    def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane = "bulk", instruction: str | None = None
    ) -> list[list[float]]:
        """A vector of length 1 for each text. `lane`: interactive goes before ingestion, for questions of people."""
        return self._run(self._exchange.embed(texts, kind, lane, instruction))

    def rerank(self, query: str, documents: Sequence[str], *, top_n: int | None = None) -> list[tuple[int, float]]:
        """Places in `documents` and their scores, the best first."""
        return self._call(calls.rerank(query, documents, top_n))

    def ingest(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        collection: str = "docs",
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """One request: {"job_id", "documents"}, or with `wait=True` the job that has ended. Documents are as the API
        has them; `content` may hold the bytes of a file. Sent again under the same key, they are taken once."""
        return self._call(calls.ingest(documents, collection, idempotency_key, options))

    def ingest_files(
        self, collection: str, files: Files, *, idempotency_key: str | None = None, **options: Any
    ) -> Json:
        """One request with the files at these paths, under these ids."""
        return self._call(calls.ingest_files(collection, batching.read_files(files), idempotency_key, options))

    def ingest_all(
        self, documents: Iterable[Mapping[str, Any]], *, collection: str = "docs", **options: Any
    ) -> list[Json]:
        """Any number of documents, in as many requests as they need. Returns their receipts once all can be searched.
        Raises IngestFailed where some cannot."""
        batches = batching.batches(documents, batching.size_of)
        jobs = [self.ingest(each, collection=collection, **options)["job_id"] for each in batches]
        receipts: list[Json] = []
        for job_id in jobs:
            for _ in self.watch(job_id):
                pass
            receipts += self.job(job_id, receipts=True)["documents"]
        return batching.checked(receipts)

    def job(self, job_id: str, *, receipts: bool = False) -> Json:
        """The job; with all its receipts where asked."""
        return self._run(self._exchange.job(job_id, receipts=receipts))

    def watch(self, job_id: str) -> Iterator[Json]:
        """The job, without receipts: now and at each change, until it has ended. Broken streams are opened anew."""
        retry_state = self._exchange.retry_state()
        while True:
            try:
                for job in self._events(job_id):
                    retry_state = self._exchange.retry_state()
                    yield job
                    if job["state"] in ENDED:
                        return
                failure: TandemClientError = self._exchange.interrupted(job_id)
            except (httpx.RequestError, TandemClientError) as error:
                failure = self._exchange.failure(error)
            sleep(retry_state.pause(failure, answered=True))

    def cancel(self, job_id: str) -> Json:
        """The job as it is then."""
        return self._call(calls.cancel(job_id))

    def documents(self, collection: str = "docs") -> Iterator[Json]:
        """All of them, by id."""
        cursor = None
        while True:
            page = self._call(calls.documents(collection, cursor))
            yield from page["documents"]
            if not (cursor := page["next_cursor"]):
                return

    def document(self, document_id: str, *, collection: str = "docs") -> Json:
        return self._call(calls.document(document_id, collection))

    def original(self, document_id: str, *, collection: str = "docs") -> bytes:
        """The bytes that a document was made of."""
        return self._call(calls.original(document_id, collection))

    def delete_document(self, document_id: str, *, collection: str = "docs") -> None:
        """Returns when nothing of it can be found any more."""
        self._call(calls.delete_document(document_id, collection))

    def create_collection(self, name: str, **settings: Any) -> Json:
        return self._call(calls.create_collection(name, settings))

    def collections(self) -> list[Json]:
        return self._call(calls.collections())

    def collection(self, name: str) -> Json:
        """One, with its chunks counted."""
        return self._call(calls.collection(name))

    def delete_collection(self, name: str) -> None:
        self._call(calls.delete_collection(name))

    def reembed(self, name: str, **plan: Any) -> Json:
        """Starts to move a collection to another model or chunking."""
        return self._call(calls.reembed(name, plan))

    def reembedding(self, name: str) -> Json:
        """How far that is, and how it ended."""
        return self._call(calls.reembedding(name))

    def rollback(self, name: str) -> Json:
        """Brings the version before back."""
        return self._call(calls.rollback(name))

    def audit(self, collection: str | None = None, *, repair: bool = False) -> Json:
        """The report, however long it takes."""
        return self._call(calls.audit(collection, repair=repair))

    def _events(self, job_id: str) -> Iterator[Json]:
        decoder = EventDecoder()
        with self._http.stream("GET", calls.job_events(job_id), timeout=calls.STREAM_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise self._exchange.refusal(response)
            for chunk in response.iter_bytes():
                for data in decoder.feed(chunk):
                    yield self._exchange.event(data)

    def _call(self, call: Call[T]) -> T:
        return self._run(self._exchange.once(call))

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    sleep(step.seconds)
                    step = next(flow)
                    continue
                try:
                    response = self._http.send(calls.to_request(self._http, step))
                except httpx.RequestError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(response)
        except StopIteration as end:
            result: T = end.value
            return result
