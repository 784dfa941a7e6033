"""Where the next page of an answer begins: opaque to callers, and of one question only."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from retrieval.errors import InvalidRequest

MAX_OFFSET = 10_000


def cursor_at(offset: int, digest: str) -> str:
    return urlsafe_b64encode(json.dumps([offset, digest]).encode()).decode()


def offset_of(cursor: str, digest: str) -> int:
    """Raises InvalidRequest."""
    try:
        offset, of = json.loads(urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError) as error:
        raise InvalidRequest("cursor: not one that an answer gave as next_cursor.") from error
    if of != digest:
        raise InvalidRequest("cursor: it belongs to another question; only top_k, neighbors and highlights may change.")
    if not isinstance(offset, int) or not 0 <= offset <= MAX_OFFSET:
        raise InvalidRequest(f"cursor: it points beyond the {MAX_OFFSET} hits that can be paged through.")
    return offset
