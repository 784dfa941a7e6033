"""The command line's client of a node: langchain_tandem's client, with retries for ingestion only."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from httpx import Response

from langchain_tandem.client import LONG_RETRIES, NO_RETRIES, TandemClient
from langchain_tandem.client.calls import Call

ANSWER_SECONDS = 700.0
"""Models on small machines take their time."""
PATIENCE = replace(LONG_RETRIES, unreachable_seconds=0)
START_HINT = "Start a node with `make serve`, or name one with --url."
"""Hint for users whose node does not run."""
PAGE = 1000


class Client(TandemClient):
    """Retries nothing, since a person waits at the terminal, except ingestion: documents are sent and jobs are followed
    while the node is full or temporarily unavailable. Adds the calls of administrators.
    """

    def __init__(self, url: str, api_key: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        """`seconds` is the timeout of an answer."""
        super().__init__(url, api_key, timeout=seconds, retries=NO_RETRIES, ingest_retries=PATIENCE)

    def create_key(self, name: str, **settings: Any) -> dict[str, Any]:
        return self._call(Call(method="POST", path="/keys", read=_object, body={"name": name, **settings}))

    def keys(self) -> Iterator[dict[str, Any]]:
        cursor = None
        while True:
            params = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
            page = self._call(Call(method="GET", path="/keys", read=_object, params=params))
            yield from page["keys"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def key(self, id_: str) -> dict[str, Any]:
        return self._call(Call(method="GET", path=_key_path(id_), read=_object))

    def rotate_key(self, id_: str) -> dict[str, Any]:
        return self._call(Call(method="POST", path=f"{_key_path(id_)}/rotate", read=_object))

    def revoke_key(self, id_: str) -> None:
        self._call(Call(method="DELETE", path=_key_path(id_), read=lambda _: None))

    def audit_log(self, *, limit: int, **filters: str) -> list[dict[str, Any]]:
        """Returns the latest entries first, at most `limit`."""
        found: list[dict[str, Any]] = []
        cursor = None
        while len(found) < limit:
            params = {"limit": min(PAGE, limit - len(found)), **filters} | ({"cursor": cursor} if cursor else {})
            page = self._call(Call(method="GET", path="/audit-log", read=_object, params=params))
            found += page["entries"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found


def _key_path(id_: str) -> str:
    return f"/keys/{quote(id_, safe='')}"


def _object(response: Response) -> dict[str, Any]:
    return dict(response.json())
