# Generated from asynchronous.py by generate_client.py. Change that file and run the script.
"""The client for programs that wait for each answer."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from time import sleep
from typing import Any, Self, TypeVar

import httpx

from langchain_tandem.client import batching, calls
from langchain_tandem.client.batching import Files, Json, read_files
from langchain_tandem.client.calls import ENDED, Call, Lane, TextKind
from langchain_tandem.client.errors import TandemClientError
from langchain_tandem.client.events import EventDecoder
from langchain_tandem.client.exchange import Exchange, Flow, Pause, Secret, authorization, one_address
from langchain_tandem.client.retrying import LONG_RETRIES, SHORT_RETRIES, Retries

T = TypeVar("T")


class TandemClient:
    """The HTTP interface of a node, with one connection pool. Close the client with `close`, or use it in a
    `with` block.

    Answers are the node's JSON as dictionaries. Keyword options have the names of the fields of the node's API, which
    its `/docs` page describes; None means "not given". Every method raises the errors of
    `langchain_tandem.client.errors`: NodeUnreachable, Refused and their subclasses.

    The client repeats calls that may succeed later, within `retries`; within `ingest_retries` where they send documents
    or follow jobs. Threads may share a TandemClient. An AsyncTandemClient belongs to one event loop.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | Secret | None = None,
        *,
        token: str | Secret | None = None,
        base_url: str | None = None,
        timeout: float = 60.0,
        retries: Retries = SHORT_RETRIES,
        ingest_retries: Retries = LONG_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`url`, or `base_url`, defaults to TANDEM_URL, else to port 8080 of this machine; `api_key` defaults to
        TANDEM_API_KEY, and "" sends none. `token` is a signed token that names the groups of the person behind the
        calls, for collections with principals; it defaults to TANDEM_TOKEN. `timeout` limits the seconds without a byte
        of an answer, except for calls that take long by design. Raises InvalidSetting."""
        self._exchange = Exchange(one_address(url, base_url), retries, ingest_retries)
        self._http = httpx.Client(
            base_url=self.url,
            headers=authorization(api_key, token),
            timeout=httpx.Timeout(timeout, connect=calls.CONNECT_SECONDS),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """Base URL of the node, without a trailing slash."""
        return self._exchange.url

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def ready(self) -> tuple[bool, Json]:
        """Returns whether the node is ready, and the answer of /health/ready. Never repeated."""
        return self._call(calls.ready())

    def search(self, query: str, **options: Any) -> Json:
        """Returns the answer to one query, in the format of POST /search."""
        return self._call(calls.search(query, options))

    def search_many(self, queries: Sequence[str], **options: Any) -> list[Json]:
        """Returns one answer per query, in order, with as few requests as possible."""
        return self._run(self._exchange.search_many(queries, options))

    def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane = "bulk", instruction: str | None = None
    ) -> list[list[float]]:
        """Returns one vector of unit length per text. Use lane "interactive" if a person waits for the answer: it takes
        precedence over ingestion.
        """
        return self._run(self._exchange.embed(texts, kind, lane, instruction))

    def rerank(self, query: str, documents: Sequence[str], *, top_n: int | None = None) -> list[tuple[int, float]]:
        """Returns pairs of an index into `documents` and its score, best first."""
        return self._call(calls.rerank(query, documents, top_n))

    def ingest(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        collection: str = "docs",
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """Sends documents in one request. Returns {"job_id", "documents"}, or the finished job with `wait=True`.

        A document has the fields of the API; `content` may hold the bytes of a file instead of `text`. The node creates
        one job per `idempotency_key`, however often the request arrives.
        """
        return self._call(calls.ingest(documents, collection, idempotency_key, options))

    def ingest_files(
        self, collection: str, files: Files, *, idempotency_key: str | None = None, **options: Any
    ) -> Json:
        """Sends files in one request: `files` pairs each document id with a path."""
        contents = read_files(files)
        return self._call(calls.ingest_files(collection, contents, idempotency_key, options))

    def ingest_all(
        self, documents: Iterable[Mapping[str, Any]], *, collection: str = "docs", **options: Any
    ) -> list[Json]:
        """Sends any number of documents in as many requests as they need. Returns their receipts when all of them are
        searchable. Raises IngestFailed if any document failed."""
        jobs = []
        for batch in batching.batches(documents, batching.size_of):
            accepted = self.ingest(batch, collection=collection, **options)
            jobs.append(accepted["job_id"])
        receipts: list[Json] = []
        for job_id in jobs:
            for _ in self.watch(job_id):
                pass
            job = self.job(job_id, receipts=True)
            receipts += job["documents"]
        return batching.checked(receipts)

    def job(self, job_id: str, *, receipts: bool = False) -> Json:
        """Returns the state of a job, with the receipts of all its documents if `receipts` is true."""
        return self._run(self._exchange.job(job_id, receipts=receipts))

    def watch(self, job_id: str) -> Generator[Json]:
        """Yields the job, without receipts, now and at each change until it has ended. Reconnects if the stream
        breaks."""
        retry_state = self._exchange.retry_state()
        while True:
            try:
                with closing(self._events(job_id)) as events:
                    for job in events:
                        retry_state = self._exchange.retry_state()
                        yield job
                        if job["state"] in ENDED:
                            return
                failure: TandemClientError = self._exchange.interrupted(job_id)
            except (httpx.RequestError, TandemClientError) as error:
                failure = self._exchange.failure(error)
            sleep(retry_state.pause(failure, answered=True))

    def cancel(self, job_id: str) -> Json:
        """Cancels a job. Returns its state afterwards."""
        return self._call(calls.cancel(job_id))

    def documents(self, collection: str = "docs") -> Generator[Json]:
        """Yields all documents of a collection, ordered by id."""
        cursor = None
        while True:
            page = self._call(calls.documents(collection, cursor))
            yield from page["documents"]
            if not (cursor := page["next_cursor"]):
                return

    def document(self, document_id: str, *, collection: str = "docs") -> Json:
        """Returns one document. Raises NotFound."""
        return self._call(calls.document(document_id, collection))

    def document_chunks(self, document_id: str, *, collection: str = "docs") -> Generator[Json]:
        """Yields the chunks of a document, as search finds them, in the order of its text. Raises NotFound; Refused if
        the document is replaced meanwhile."""
        cursor = None
        while True:
            page = self._call(calls.document_chunks(document_id, collection, cursor))
            yield from page["chunks"]
            if not (cursor := page["next_cursor"]):
                return

    def document_text(self, document_id: str, *, collection: str = "docs") -> str:
        """Returns the whole text that was read from a document. Raises NotFound; Refused if the document is replaced
        meanwhile.
        """
        parts, cursor = [], None
        while True:
            page = self._call(calls.document_text(document_id, collection, cursor))
            parts.append(page["text"])
            if not (cursor := page["next_cursor"]):
                return "".join(parts)

    def original(self, document_id: str, *, collection: str = "docs") -> bytes:
        """Returns the bytes that were ingested as this document."""
        return self._call(calls.original(document_id, collection))

    def delete_document(self, document_id: str, *, collection: str = "docs") -> None:
        """Deletes a document. Returns when no search can find it any more."""
        self._call(calls.delete_document(document_id, collection))

    def create_collection(self, name: str, **settings: Any) -> Json:
        """Creates a collection for the node's embedding model."""
        return self._call(calls.create_collection(name, settings))

    def collections(self, *, languages: bool = False) -> list[Json]:
        """Returns all collections, without their numbers of chunks. `languages`: with the number of documents by
        language, which takes longer.
        """
        return self._call(calls.collections(languages=languages))

    def collection(self, name: str) -> Json:
        """Returns one collection, with its number of chunks."""
        return self._call(calls.collection(name))

    def delete_collection(self, name: str) -> None:
        """Deletes a collection with its documents, vectors, jobs and originals."""
        self._call(calls.delete_collection(name))

    def reembed(self, name: str, **plan: Any) -> Json:
        """Starts to re-embed a collection with another model or chunk size."""
        return self._call(calls.reembed(name, plan))

    def reembedding(self, name: str) -> Json:
        """Returns progress and result of the last re-embedding of a collection."""
        return self._call(calls.reembedding(name))

    def rollback(self, name: str) -> Json:
        """Starts to restore the version that a collection had before its last re-embedding."""
        return self._call(calls.rollback(name))

    def audit(self, collection: str | None = None, *, repair: bool = False) -> Json:
        """Returns the report of an audit. Waits for it without a time limit."""
        return self._call(calls.audit(collection, repair=repair))

    def _events(self, job_id: str) -> Generator[Json]:
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
