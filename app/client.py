"""The node's HTTP interface for the command line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import connect_sse

from retrieval.errors import TandemError

ANSWER_SECONDS = 700.0
"""Longer than the node holds a `wait`."""


class NodeUnreachable(TandemError):
    code = "node_unreachable"


class Refused(TandemError):
    """The node answered with an error; its own code stands in `detail["code"]`."""

    code = "refused"


class Client:
    """Blocking; one connection pool. Every method raises NodeUnreachable or Refused."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=httpx.Timeout(ANSWER_SECONDS, connect=5.0)
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

    def ingest_files(self, collection: str, files: Sequence[tuple[str, Path]]) -> dict[str, Any]:
        """`files`: document id and path. Returns {"job_id", "documents"}."""
        parts = [("files", (document_id, path.read_bytes())) for document_id, path in files]
        return self._json("POST", "/ingest", data={"data": dumps({"collection": collection})}, files=parts)

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
        """The job, without receipts: now and at each change, until it has ended."""
        with self._translated(), connect_sse(self._http, "GET", f"/jobs/{job_id}/events") as source:
            if source.response.is_success:
                for event in source.iter_sse():
                    yield loads(event.data)
                return
            source.response.read()
            raise _refusal(source.response)

    def audit(self, collection: str | None = None, *, repair: bool = False) -> dict[str, Any]:
        """The report, however long it takes."""
        patient = httpx.Timeout(None, connect=5.0)
        return self._json("POST", "/audit", json={"collection": collection, "repair": repair}, timeout=patient)

    def create_collection(self, name: str, **settings: Any) -> dict[str, Any]:
        return self._json("POST", "/collections", json={"name": name, **settings})

    def collections(self) -> Iterator[dict[str, Any]]:
        yield from self._json("GET", "/collections")["collections"]

    def delete_collection(self, name: str) -> None:
        self._json("DELETE", f"/collections/{name}")

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        with self._translated():
            response = self._http.request(method, path, **arguments)
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


def _refusal(response: httpx.Response) -> Refused:
    error = response.json()["error"]
    return Refused(f"{error['message']} ({error['code']})", code=error["code"], status=response.status_code)
