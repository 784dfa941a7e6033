"""Cursors: the signed position of the next page of one query's answer, opaque to callers."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from retrieval.errors import InvalidRequest
from retrieval.search.query import Place

CURSOR_KEY = "cursors"
"""Name of the secret in the catalog: all nodes of a catalog accept each other's cursors, also after a restart."""
_MAC_BYTES = 16


class Cursors:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def at(self, place: Place, digest: str) -> str:
        """Returns the cursor for a position; `digest` identifies the query."""
        payload = json.dumps([place.offset, place.pool, place.mode, place.reranked, digest]).encode()
        return urlsafe_b64encode(self._mac(payload) + payload).decode()

    def place(self, cursor: str, digest: str) -> Place:
        """Returns the position in a cursor. Raises InvalidRequest for a cursor that no node of this catalog signed for
        this query.
        """
        try:
            decoded = urlsafe_b64decode(cursor.encode())
        except ValueError:
            decoded = b""
        mac, payload = decoded[:_MAC_BYTES], decoded[_MAC_BYTES:]
        # What carries the MAC was written by `at`: nothing in it has to be checked again.
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise InvalidRequest("cursor: this is not the next_cursor of an answer. Send it unchanged.")
        offset, pool, mode, reranked, owner = json.loads(payload)
        if owner != digest:
            raise InvalidRequest(
                "cursor: it belongs to another query; only top_k, neighbors, expand and highlights may change."
            )
        return Place(offset, pool, mode, reranked)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]
