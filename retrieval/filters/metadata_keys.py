"""Metadata keys that a collection declares: their names and types, and the check of a document's values. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from retrieval.errors import InvalidRequest
from retrieval.filters.tree import KeyType

MAX_KEYS: Final = 16
MAX_TEXT_BYTES: Final = 1024
"""Limit in bytes of UTF-8 for the value of a `text` key."""
KEY_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_]{0,63}$"
"""Names that every store accepts as the name of a field."""

_SHOULD_BE: Final[Mapping[KeyType, str]] = {
    "text": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


def check_declared(keys: Mapping[str, KeyType]) -> None:
    """Checks declared keys. Raises InvalidRequest."""
    if len(keys) > MAX_KEYS:
        raise InvalidRequest(f"metadata_keys: {len(keys)} keys; at most {MAX_KEYS} can be declared.", limit=MAX_KEYS)
    for name, type_ in keys.items():
        if not re.fullmatch(KEY_PATTERN, name):
            raise InvalidRequest(
                f"metadata_keys: {name[:80]!r} cannot be declared: 1 to 64 letters, digits and underscores, beginning "
                "with a letter. Filters find other keys as well, more slowly."
            )
        if type_ not in _SHOULD_BE:
            raise InvalidRequest(f"metadata_keys.{name}: must be one of {', '.join(_SHOULD_BE)}, not {type_[:80]!r}.")


def wrong_value(metadata: Mapping[str, object], keys: Mapping[str, KeyType]) -> str | None:
    """Describes the first value that does not have its key's type; None if all do. A missing key or null is
    accepted.
    """
    for name, type_ in keys.items():
        value = metadata.get(name)
        if value is None:
            continue
        if not _is(value, type_):
            return f"metadata.{name} is {_shown(value)}; the collection declares it as {type_}: {_SHOULD_BE[type_]}"
        if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
            return f"metadata.{name} has more than the {MAX_TEXT_BYTES} bytes that a declared key holds"
    return None


def _is(value: object, type_: KeyType) -> bool:
    match type_:
        case "text":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict() | list():
            return "an object" if isinstance(value, dict) else "a list"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
