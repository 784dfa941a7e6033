"""Metadata that Markdown begins with: YAML between two lines `---` (pure)."""

import datetime
import math
import re
from collections.abc import Mapping

import yaml

MAX_BYTES = 2**14
_MAX_DEPTH = 4
_MAX_KEYS = 100
_BLOCK = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Loads YAML without aliases, with which a short text can expand without limit."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def front_matter(data: bytes) -> Mapping[str, object]:
    """Its fields as JSON values, but for the title, which parsing finds; empty where there are none that can be read.
    Dates are ISO 8601."""
    if not data.startswith((b"---", b"\xef\xbb\xbf---")):
        return {}
    match = _BLOCK.match(data[:MAX_BYTES].decode(errors="ignore"))
    if not match:
        return {}
    try:
        found = yaml.load(match[1], _Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    found.pop("title", None)
    value = _json(found, 0)
    return value if isinstance(value, dict) else {}


def _json(value: object, depth: int) -> object:
    """Returns the value, _NOTHING if JSON cannot represent it."""
    match value:
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if math.isfinite(value) else _NOTHING
        case str():
            return value if "\0" not in value else _NOTHING
        case datetime.datetime() | datetime.date():
            return value.isoformat()
        case dict() if depth < _MAX_DEPTH:
            pairs = ((_key(key), _json(each, depth + 1)) for key, each in list(value.items())[:_MAX_KEYS])
            return {key: each for key, each in pairs if each is not _NOTHING}
        case list() if depth < _MAX_DEPTH:
            return [each for each in (_json(each, depth + 1) for each in value) if each is not _NOTHING]
        case _:
            return _NOTHING


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(_json(key, _MAX_DEPTH)) if key is not None else "null"
