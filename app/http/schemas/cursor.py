"""Where the next page of an answer begins: opaque to callers, of one question only, and signed."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from retrieval.errors import InvalidRequest
from retrieval.search.query import Place

CURSOR_KEY = "cursors"
"""Name of the secret in the catalog: nodes of one catalog read each other's cursors, before and after a restart."""
_MAC_BYTES = 16


class Cursors:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def at(self, place: Place, digest: str) -> str:
        """`digest` is that of the question."""
        payload = json.dumps([place.offset, place.pool, place.mode, place.reranked, digest]).encode()
        return urlsafe_b64encode(self._mac(payload) + payload).decode()

    def place(self, cursor: str, digest: str) -> Place:
        """Raises InvalidRequest."""
        try:
            decoded = urlsafe_b64decode(cursor.encode())
        except ValueError:
            decoded = b""
        mac, payload = decoded[:_MAC_BYTES], decoded[_MAC_BYTES:]
        # What carries the MAC was written by `at`: nothing in it has to be checked again.
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise InvalidRequest("cursor: not one that an answer gave as next_cursor. Send it as it came.")
        offset, pool, mode, reranked, owner = json.loads(payload)
        if owner != digest:
            raise InvalidRequest(
                "cursor: it belongs to another question; only top_k, neighbors and highlights may change."
            )
        return Place(offset, pool, mode, reranked)

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]
