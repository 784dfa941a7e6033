"""Declared metadata keys in Milvus: two fields for each key, in addition to the JSON that holds all metadata.

Not every supported server has nullable fields, and servers differ in the effect of `not` on a comparison with null. So
a second field states whether the chunk has the key, and the first holds a filler if it does not.
"""

from collections.abc import Mapping
from typing import Any, Final

from pymilvus import CollectionSchema, DataType

from retrieval.errors import StoreFailed
from retrieval.filters.metadata_keys import MAX_TEXT_BYTES, wrong_value
from retrieval.filters.tree import KeyType
from retrieval.types import EmbeddedChunk

_VALUE, _PRESENT = "meta_", "has_"
_FILLERS: Final[Mapping[KeyType, str | int | float | bool]] = {"text": "", "int": 0, "float": 0.0, "bool": False}
_TYPES: Final[Mapping[KeyType, DataType]] = {
    "text": DataType.VARCHAR,
    "int": DataType.INT64,
    "float": DataType.DOUBLE,
    "bool": DataType.BOOL,
}


def value_field(key: str) -> str:
    return _VALUE + key


def present_field(key: str) -> str:
    return _PRESENT + key


def add_fields(schema: CollectionSchema, keys: Mapping[str, KeyType]) -> None:
    for key, type_ in keys.items():
        limit = {"max_length": MAX_TEXT_BYTES} if type_ == "text" else {}
        schema.add_field(value_field(key), _TYPES[type_], **limit)
        schema.add_field(present_field(key), DataType.BOOL)


def declared_in(description: Mapping[str, Any]) -> Mapping[str, KeyType]:
    """Returns the declared keys of a collection from Milvus's description of it."""
    types = {type_: key_type for key_type, type_ in _TYPES.items()}
    return {
        field["name"].removeprefix(_VALUE): types[DataType(field["type"])]
        for field in description["fields"]
        if field["name"].startswith(_VALUE)
    }


def declared_values(embedded: EmbeddedChunk) -> dict[str, Any]:
    """Returns the fields of one row. Raises StoreFailed if a value does not have its key's type."""
    keys, metadata = embedded.metadata_keys, embedded.metadata
    wrong = wrong_value(metadata, keys)
    if wrong:
        raise StoreFailed(f"Chunk {embedded.chunk.id!r}: {wrong}.", chunk_id=embedded.chunk.id)
    fields: dict[str, Any] = {}
    for key, type_ in keys.items():
        value = metadata.get(key)
        fields[present_field(key)] = value is not None
        filled = _FILLERS[type_] if value is None else value
        fields[value_field(key)] = float(filled) if isinstance(filled, int) and type_ == "float" else filled
    return fields
