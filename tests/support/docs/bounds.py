"""What of a JSON schema has no bound."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

OF_FREE_JSON = frozenset({"x-max-bytes", "x-max-conditions"})
"""What an object of any content says that it is held to."""
OF_FREE_OBJECTS = frozenset({"maxProperties", "maxLength"})
"""pydantic writes the second one for Any."""


def unbounded(schema: Json, components: Json, place: str, seen: Collection[str] = ()) -> Iterator[str]:
    """Places of texts, lists, and objects with keys of the caller's own that may be of any size."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in seen:
            yield from unbounded(components[name], components, place, (*seen, name))
        return
    choices = [choice for kind in ("anyOf", "oneOf", "allOf") for choice in schema.get(kind, ())]
    for choice in choices:
        yield from unbounded(choice, components, place, seen)
    kind = schema.get("type")
    if kind is None and not choices and not {"const", "enum"} & schema.keys():
        yield f"{place}: of any type"
    if kind == "string" and not ({"maxLength", "enum", "const"} & schema.keys() or _is_file(schema)):
        yield f"{place}: a text"
    if kind == "array":
        if "maxItems" not in schema:
            yield f"{place}: a list"
        yield from unbounded(schema.get("items", {}), components, f"{place}[]", seen)
    if kind == "object":
        for name, of in schema.get("properties", {}).items():
            yield from unbounded(of, components, f"{place}.{name}", seen)
        yield from _free_keys(schema, components, place, seen)


def _free_keys(schema: Json, components: Json, place: str, seen: Collection[str]) -> Iterator[str]:
    # Without a word on others, fields are known by name: those that are not are left unread.
    others = schema.get("additionalProperties", "properties" not in schema)
    if others is False:
        return
    if not OF_FREE_OBJECTS & schema.keys():
        yield f"{place}: an object"
    if not OF_FREE_JSON & schema.keys():
        yield from unbounded({} if others is True else others, components, f"{place}{{}}", seen)


def _is_file(schema: Json) -> bool:
    """Of a form: bounded as the whole body is."""
    return schema.get("format") == "binary" or schema.get("contentMediaType") == "application/octet-stream"
