"""The node's HTTP interface for the command line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
from httpx_sse import connect_sse

from retrieval.errors import TandemError

ANSWER_SECONDS = 700.0
"""Longer than the node holds a `wait`."""
SILENT_SECONDS = 60.0
"""An event stream that brings nothing for so long, not even a keep-alive, is broken."""
AWAY_SECONDS = 300.0
"""How long a node that answered before may be away: it may have to load its models again."""
FULL_SECONDS = 3600.0
"""How long documents are held back while the node's queue is full."""
RETRY_SECONDS = 1.0
ENDED = ("succeeded", "partial", "failed", "cancelled")


class NodeUnreachable(TandemError):
    code = "node_unreachable"


class Refused(TandemError):
    """The node answered with an error; `detail` holds its own "code", the "status", and "retry_after" in seconds."""

    code = "refused"

    @property
    def status(self) -> int:
        return int(str(self.detail["status"]))


class Client:
    """Blocking; one connection pool. Every method raises NodeUnreachable or Refused."""

    def __init__(self, url: str, api_key: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        """`seconds`: how long an answer may take."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url.rstrip("/")
        self._answered = False
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(seconds, connect=min(seconds, 5.0))
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether the node is ready, and what it says of itself."""
        with self._translated():
            response = self._http.get("/health/ready", timeout=10.0)
            return response.status_code == 200, response.json()

    def search(self, **request: Any) -> dict[str, Any]:
        return self._json("POST", "/search", json=request)

    def ingest(self, **request: Any) -> dict[str, Any]:
        return self._json("POST", "/ingest", json=request)

    def ingest_files(
        self, collection: str, files: Sequence[tuple[str, Path]], *, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """`files`: document id and path; `metadata` of each. Returns {"job_id", "documents"}.

        Sent again, and taken once, while the queue is full or the node is away after it had answered.
        """
        parts = [("files", (document_id, path.read_bytes())) for document_id, path in files]
        fields = {"collection": collection} | ({"metadata": metadata} if metadata else {})
        return self._ingest_patiently(data={"data": dumps(fields)}, files=parts)

    def ingest_documents(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The same for documents as POST /ingest takes them."""
        return self._ingest_patiently(json={"collection": collection, "documents": list(documents)})

    def _ingest_patiently(self, **body: Any) -> dict[str, Any]:
        headers = {"Idempotency-Key": uuid4().hex}
        patience = Patience(answered=self._answered)
        while True:
            try:
                return self._json("POST", "/ingest", headers=headers, **body)
            except (NodeUnreachable, Refused) as error:
                patience.bear(error)

    def job(self, job_id: str, *, receipts: bool = False) -> dict[str, Any]:
        """The job; with all its receipts where asked."""
        job = self._json("GET", f"/jobs/{job_id}", params={"limit": 1000 if receipts else 0})
        cursor = job["next_cursor"] if receipts else None
        while cursor:
            page = self._json("GET", f"/jobs/{job_id}", params={"cursor": cursor})
            job["documents"] += page["documents"]
            cursor = page["next_cursor"]
        return job

    def watch(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job, without receipts: now and at each change, until it has ended. Broken streams are opened anew."""
        patience = Patience(answered=True)
        while True:
            try:
                for job in self._events(job_id):
                    patience = Patience(answered=True)
                    yield job
                    if job["state"] in ENDED:
                        return
                raise NodeUnreachable(f"{self.url} stopped telling of job {job_id}, which had not ended.")  # noqa: TRY301
            except (NodeUnreachable, Refused) as error:
                patience.bear(error)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """The job as it is then."""
        return self._json("POST", f"/jobs/{job_id}/cancel")

    def _events(self, job_id: str) -> Iterator[dict[str, Any]]:
        timeout = httpx.Timeout(SILENT_SECONDS, connect=5.0)
        with (
            self._translated(),
            connect_sse(self._http, "GET", f"/jobs/{job_id}/events", timeout=timeout) as source,
        ):
            if not source.response.is_success:
                source.response.read()
                raise _refusal(source.response)
            for event in source.iter_sse():
                yield loads(event.data)

    def audit(self, collection: str | None = None, *, repair: bool = False) -> dict[str, Any]:
        """The report, however long it takes."""
        patient = httpx.Timeout(None, connect=5.0)
        return self._json("POST", "/audit", json={"collection": collection, "repair": repair}, timeout=patient)

    def reembed(self, name: str, **plan: Any) -> dict[str, Any]:
        return self._json("POST", f"/collections/{name}/reembed", json=plan)

    def rollback(self, name: str) -> dict[str, Any]:
        return self._json("POST", f"/collections/{name}/rollback")

    def reembedding(self, name: str) -> dict[str, Any]:
        return self._json("GET", f"/collections/{name}/reembed")

    def create_collection(self, name: str, **settings: Any) -> dict[str, Any]:
        return self._json("POST", "/collections", json={"name": name, **settings})

    def collections(self) -> Iterator[dict[str, Any]]:
        yield from self._json("GET", "/collections")["collections"]

    def collection(self, name: str) -> dict[str, Any]:
        """One, with its chunks counted."""
        return self._json("GET", f"/collections/{name}")

    def delete_collection(self, name: str) -> None:
        self._json("DELETE", f"/collections/{name}")

    def documents(self, collection: str) -> Iterator[dict[str, Any]]:
        """All, by id."""
        asked: dict[str, Any] = {"collection": collection, "limit": 1000}
        while True:
            page = self._json("GET", "/documents", params=asked)
            yield from page["documents"]
            if not page["next_cursor"]:
                return
            asked["cursor"] = page["next_cursor"]

    def document(self, collection: str, document_id: str) -> dict[str, Any]:
        return self._json("GET", f"/documents/{quote(document_id)}", params={"collection": collection})

    def delete_document(self, collection: str, document_id: str) -> None:
        """Returns when the store holds no chunk of it."""
        self._json("DELETE", f"/documents/{quote(document_id)}", params={"collection": collection})

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        with self._translated():
            response = self._http.request(method, path, **arguments)
            self._answered = True
            if response.is_success:
                return dict(response.json()) if response.content else {}
            raise _refusal(response)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise NodeUnreachable(
                f"No answer from {self.url}: {type(error).__name__}. Start a node with `make serve`, or name one "
                "with --url."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise NodeUnreachable(f"What answers at {self.url} is not a Tandem node.") from error


class Patience:
    """How often and how long a call is repeated that may yet be answered."""

    def __init__(self, *, answered: bool) -> None:
        """`answered`: whether this node has answered before; one that never did is not waited for."""
        self._answered = answered
        self._since: dict[float, float] = {}

    def bear(self, error: NodeUnreachable | Refused) -> None:
        """Waits as long as the node says, then returns; raises `error` where no waiting helps or it took too long."""
        pause, limit = RETRY_SECONDS, AWAY_SECONDS
        if isinstance(error, Refused):
            self._answered = True
            if error.status not in (429, 503):
                raise error
            pause = float(str(error.detail["retry_after"]))
            limit = FULL_SECONDS if error.status == 429 else AWAY_SECONDS
        if not self._answered or monotonic() - self._since.setdefault(limit, monotonic()) + pause > limit:
            raise error
        sleep(pause)


def _refusal(response: httpx.Response) -> Refused:
    error = response.json()["error"]
    return Refused(
        f"{error['message']} ({error['code']})",
        code=error["code"],
        status=response.status_code,
        retry_after=int(after) if (after := response.headers.get("Retry-After", "")).isdecimal() else RETRY_SECONDS,
    )
