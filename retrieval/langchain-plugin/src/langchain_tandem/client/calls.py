"""Describes every call to a node as data: the request, the parser of the answer, and whether it may be repeated."""

import json
import sys
from array import array
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from langchain_tandem.client.batching import Json, content_as_base64

T = TypeVar("T")
TextKind = Literal["query", "document"]
Lane = Literal["interactive", "bulk"]

QUERIES_A_REQUEST = 32
TEXTS_A_REQUEST = 256
ENDED = ("succeeded", "partial", "failed", "cancelled")
"""States of jobs that change no more."""

CONNECT_SECONDS = 5.0
LONG_TIMEOUT = httpx.Timeout(700.0, connect=CONNECT_SECONDS)
"""Longer than the node holds a `wait`."""
NO_TIMEOUT = httpx.Timeout(None, connect=CONNECT_SECONDS)
STREAM_TIMEOUT = httpx.Timeout(60.0, connect=CONNECT_SECONDS)
"""An event stream that brings nothing for so long, not even a keep-alive, is broken."""
HEALTH_TIMEOUT = httpx.Timeout(10.0, connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    method: str
    path: str
    read: Callable[[httpx.Response], T]
    body: object = None
    """Sent as JSON; None: no body."""
    form: Json | None = None
    files: Sequence[tuple[str, tuple[str, bytes]]] | None = None
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    timeout: httpx.Timeout | None = None
    """None: the client's."""
    repeatable: bool = True
    """Whether a call that may have arrived can be sent again without doing its work twice."""
    ingests: bool = False
    """Belongs to ingestion, which is repeated for longer."""
    retried: bool = True
    accepted_statuses: Sequence[int] = ()
    """Statuses in addition to 2xx that are answers, too."""


def to_request(http: httpx.Client | httpx.AsyncClient, call: Call[Any]) -> httpx.Request:
    headers = dict(call.headers or {})
    content = None
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        try:
            content = json.dumps(call.body, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:  # lone surrogates: the node reports which field holds them
            content = json.dumps(call.body, allow_nan=False).encode()
    return http.build_request(
        call.method,
        call.path,
        params=call.params,
        headers=headers,
        content=content,
        data=call.form,
        files=call.files,
        timeout=call.timeout or http.timeout,
    )


def _object(response: httpx.Response) -> Json:
    return dict(response.json())


def _without_none(options: Json) -> Json:
    return {name: value for name, value in options.items() if value is not None}


def _no_content(_: httpx.Response) -> None:
    return None


# Health


def ready() -> Call[tuple[bool, Json]]:
    def read(response: httpx.Response) -> tuple[bool, Json]:
        state = dict(response.json())
        return bool(state["ready"]), state

    return Call(
        method="GET", path="/health/ready", read=read, timeout=HEALTH_TIMEOUT, retried=False, accepted_statuses=(503,)
    )


# Questions


def search(query: str, options: Json) -> Call[Json]:
    return Call(method="POST", path="/search", body={"query": query, **_without_none(options)}, read=_object)


def search_many(queries: Sequence[str], options: Json) -> Call[list[Json]]:
    def read(response: httpx.Response) -> list[Json]:
        return list(response.json()["results"])

    return Call(method="POST", path="/search", body={"queries": list(queries), **_without_none(options)}, read=read)


def embed(texts: Sequence[str], kind: TextKind, lane: Lane, instruction: str | None) -> Call[list[list[float]]]:
    def read(response: httpx.Response) -> list[list[float]]:
        numbers = array("f", b64decode(response.json()["vectors"]))
        if sys.byteorder == "big":
            numbers.byteswap()
        length, rest = divmod(len(numbers), len(texts))
        if rest or not length:
            raise ValueError("not one vector a text")
        return [numbers[start : start + length].tolist() for start in range(0, len(numbers), length)]

    body = {"texts": list(texts), "kind": kind, "lane": lane, "instruction": instruction}
    return Call(method="POST", path="/embed", body=body, read=read)


def rerank(query: str, documents: Sequence[str], top_n: int | None) -> Call[list[tuple[int, float]]]:
    def read(response: httpx.Response) -> list[tuple[int, float]]:
        results = [(int(each["index"]), float(each["relevance_score"])) for each in response.json()["results"]]
        if any(not 0 <= index < len(documents) for index, _ in results):
            raise ValueError("an index of no document")
        return results

    body = {"query": query, "documents": list(documents)} | ({} if top_n is None else {"top_n": top_n})
    return Call(method="POST", path="/v2/rerank", body=body, read=read)


# Ingestion


def ingest(documents: Iterable[Mapping[str, Any]], collection: str, key: str | None, options: Json) -> Call[Json]:
    sent = [content_as_base64(document) for document in documents]
    body = {"collection": collection, "documents": sent, **_without_none(options)}
    return _ingest(key, body=body)


def ingest_files(collection: str, files: Sequence[tuple[str, bytes]], key: str | None, options: Json) -> Call[Json]:
    form = {"data": json.dumps({"collection": collection, **_without_none(options)})}
    return _ingest(key, form=form, files=[("files", file) for file in files])


def _ingest(key: str | None, **content: Any) -> Call[Json]:
    """Builds an ingest call. The node creates one job per key, however often the request arrives."""
    headers = {"Idempotency-Key": key or uuid4().hex}
    return Call(
        method="POST", path="/ingest", headers=headers, read=_object, timeout=LONG_TIMEOUT, ingests=True, **content
    )


def job(job_id: str, *, limit: int | None = None, cursor: str | None = None) -> Call[Json]:
    params = {name: value for name, value in (("limit", limit), ("cursor", cursor)) if value is not None}
    return Call(method="GET", path=f"/jobs/{_segment(job_id)}", params=params, read=_object, ingests=True)


def job_events(job_id: str) -> str:
    return f"/jobs/{_segment(job_id)}/events"


def cancel(job_id: str) -> Call[Json]:
    return Call(method="POST", path=f"/jobs/{_segment(job_id)}/cancel", read=_object, timeout=LONG_TIMEOUT)


# Documents


def documents(collection: str, cursor: str | None) -> Call[Json]:
    params = {"collection": collection, "limit": 1000} | ({"cursor": cursor} if cursor else {})
    return Call(method="GET", path="/documents", params=params, read=_object)


def document(document_id: str, collection: str) -> Call[Json]:
    return Call(method="GET", path=_document(document_id), params={"collection": collection}, read=_object)


def document_chunks(document_id: str, collection: str, cursor: str | None) -> Call[Json]:
    return _content(document_id, "chunks", collection, cursor, limit=200)


def document_text(document_id: str, collection: str, cursor: str | None) -> Call[Json]:
    return _content(document_id, "text", collection, cursor)


def _content(document_id: str, what: str, collection: str, cursor: str | None, **params: Any) -> Call[Json]:
    params = {"collection": collection, **params} | ({"cursor": cursor} if cursor else {})
    return Call(method="GET", path=f"{_document(document_id)}/{what}", params=params, read=_object)


def original(document_id: str, collection: str) -> Call[bytes]:
    path = _document(document_id).replace("/documents", "/originals", 1)
    return Call(method="GET", path=path, params={"collection": collection}, read=lambda answer: answer.content)


def delete_document(document_id: str, collection: str) -> Call[None]:
    params = {"collection": collection}
    path = _document(document_id)
    return Call(method="DELETE", path=path, params=params, read=_no_content, timeout=LONG_TIMEOUT, repeatable=False)


def _document(document_id: str) -> str:
    return "/documents/" + "/".join(_segment(part) for part in document_id.split("/"))


def _segment(text: str) -> str:
    """Escapes one path segment. `.` and `..` are escaped too, since HTTP clients resolve them as folders."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


# Collections


def create_collection(name: str, settings: Json) -> Call[Json]:
    return Call(
        method="POST",
        path="/collections",
        body={"name": name, **_without_none(settings)},
        read=_object,
        repeatable=False,
    )


def collections(*, languages: bool) -> Call[list[Json]]:
    def read(response: httpx.Response) -> list[Json]:
        return list(response.json()["collections"])

    return Call(method="GET", path="/collections", params={"languages": True} if languages else {}, read=read)


def collection(name: str) -> Call[Json]:
    return Call(method="GET", path=f"/collections/{_segment(name)}", read=_object)


def delete_collection(name: str) -> Call[None]:
    path = f"/collections/{_segment(name)}"
    return Call(method="DELETE", path=path, read=_no_content, timeout=LONG_TIMEOUT, repeatable=False)


def reembed(name: str, plan: Json) -> Call[Json]:
    path = f"/collections/{_segment(name)}/reembed"
    return Call(method="POST", path=path, body=_without_none(plan), read=_object, timeout=NO_TIMEOUT, repeatable=False)


def reembedding(name: str) -> Call[Json]:
    return Call(method="GET", path=f"/collections/{_segment(name)}/reembed", read=_object)


def rollback(name: str) -> Call[Json]:
    path = f"/collections/{_segment(name)}/rollback"
    return Call(method="POST", path=path, read=_object, timeout=LONG_TIMEOUT, repeatable=False)


def audit(collection: str | None, *, repair: bool) -> Call[Json]:
    body = {"collection": collection, "repair": repair}
    return Call(method="POST", path="/audit", body=body, read=_object, timeout=NO_TIMEOUT, repeatable=False)
