"""The layout of a collection on a given Milvus server: fields, BM25 function and indexes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pymilvus import CollectionSchema, DataType, Function, FunctionType, MilvusClient

from retrieval.errors import StoreFailed
from retrieval.filters.groups import MAX_GROUP_BYTES, MAX_GROUPS
from retrieval.filters.tree import KeyType
from retrieval.stores.milvus.keys import add_fields, value_field
from retrieval.stores.milvus.rows import DENSE, GROUPS, LANGUAGE, MAX_BYTES, SPARSE
from retrieval.text.words import VERSION
from retrieval.types import CollectionSpec, StoreCapabilities

BM25_K1: Final = 1.2
BM25_B: Final = 0.75
WORDS: Final = f"words_{VERSION}"
"""The field of the words of retrieval.text.words, separated by spaces. Where the server counts them itself there is no
such field: its name is that of the tokenizer then. Collections of earlier releases have neither, and a server's
tokenizer and filters on the passage."""
ANY_WORDS: Final = "words_"
_INDEXES: Final[dict[str, dict[str, Any]]] = {
    DENSE: {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 16, "efConstruction": 200}},
    SPARSE: {
        "index_type": "SPARSE_INVERTED_INDEX",
        "metric_type": "BM25",
        "params": {"bm25_k1": BM25_K1, "bm25_b": BM25_B},
    },
}
_INVERTED: Final[Mapping[KeyType, str]] = dict.fromkeys(("text", "int", "float", "bool"), "INVERTED")
_SORTED: Final[Mapping[KeyType, str]] = {"text": "Trie", "int": "STL_SORT", "float": "STL_SORT"}


@dataclass(frozen=True, slots=True)
class ServerTraits:
    """The differences between servers, decided once from their version."""

    capabilities: StoreCapabilities
    templates: bool
    """The server takes values apart from a filter expression instead of inside it."""
    partition_key: bool
    """Upserts honour the partition key. Milvus 2.3 files upserted rows by another field and then misses them in
    every search that names a partition: there `partition` is a plain field."""
    typed_json: bool
    """Whether it distinguishes true from 1 in JSON, answers if types differ, and finds values in lists."""
    key_indexes: Mapping[KeyType, str]
    """Index types for declared metadata keys; those of other types are looked through, which is quick as well."""
    concurrent_writes: bool
    search_during_writes: bool
    """A search finds each row that was stored before, also while a write sets off a flush."""
    misses_few: bool
    """A search with a filter may bring fewer chunks than it was asked for, although more match. Milvus searches rows
    that are not in the collection's index yet by one that it makes meanwhile: it looks into an eighth of this index's
    clusters, whatever matches there. Milvus Lite's own server looks at some neighbours, and then filters them.
    """
    slow_until_flushed: bool
    tokenizer: str
    """Leaves words that are separated by spaces as they are; WORDS where the server counts words itself."""
    wildcards: str
    """Characters that `like` takes escaped by a backslash; others cannot be part of what is looked for. Empty: `like`
    does not look for a part within a text."""
    negates_bm25: bool
    """Whether it returns BM25 as a distance: the score with the opposite sign."""
    orders_iterators_only: bool
    """Whether a limited query returns the first rows by id only if it is marked as an iterator's. Servers always return
    the first; the mark must not be set for them, since it makes them ignore the requested consistency.
    """


def server_traits(version: str, *, ours: bool) -> ServerTraits:
    """Returns the traits for the answer of GetVersion: `milvus_lite-3.2.2`, `2.6.1`, or `v2.3.5-lite` (a full server
    all the same). `ours` says that the server runs milvus_lite/child/main.py.
    """
    match = re.search(r"\d+\.\d+[.\w]*", version)
    if match is None:
        raise StoreFailed(f"Milvus reports a version that cannot be parsed: {version!r}.")
    number = match[0]
    if version.startswith("milvus_lite"):
        return ServerTraits(
            StoreCapabilities(server="milvus-lite", version=number, sparse=True, several_writers=False),
            templates=False,
            partition_key=True,
            typed_json=ours,
            key_indexes={},
            concurrent_writes=False,
            search_during_writes=ours,
            misses_few=not ours,
            slow_until_flushed=True,
            tokenizer=WORDS if ours else "standard",
            wildcards="\\%_" if ours else "%_",
            negates_bm25=True,
            orders_iterators_only=True,
        )
    major, minor = (int(part) for part in number.split(".")[:2])
    modern = (major, minor) >= (2, 5)
    missing = f"Milvus {number} has no BM25 of its own; use Milvus 2.5 or newer, or the embedded Milvus Lite."
    return ServerTraits(
        StoreCapabilities(server="milvus", version=number, sparse=modern, sparse_missing="" if modern else missing),
        templates=modern,
        partition_key=modern,
        typed_json=True,
        key_indexes=_INVERTED if modern else _SORTED,
        concurrent_writes=True,
        search_during_writes=True,
        misses_few=True,
        slow_until_flushed=False,
        tokenizer="whitespace",
        wildcards="%_" if modern else "",
        negates_bm25=False,
        orders_iterators_only=False,
    )


def collection_schema(spec: CollectionSpec, traits: ServerTraits) -> CollectionSchema:
    sparse = traits.capabilities.sparse
    analyzed = {"enable_analyzer": True, "analyzer_params": {"tokenizer": traits.tokenizer}} if sparse else {}
    in_passage = traits.tokenizer == WORDS
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=MAX_BYTES["id"])
    schema.add_field(
        "partition", DataType.VARCHAR, max_length=MAX_BYTES["partition"], is_partition_key=traits.partition_key
    )
    schema.add_field("document_id", DataType.VARCHAR, max_length=MAX_BYTES["document_id"])
    schema.add_field("passage", DataType.VARCHAR, max_length=MAX_BYTES["passage"], **(analyzed if in_passage else {}))
    schema.add_field("title", DataType.VARCHAR, max_length=MAX_BYTES["title"])
    schema.add_field("media_type", DataType.VARCHAR, max_length=MAX_BYTES["media_type"])
    schema.add_field(LANGUAGE, DataType.VARCHAR, max_length=MAX_BYTES[LANGUAGE])
    for name in ("ordinal", "start", "end", "page", "tokens", "ingested_at"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("section", DataType.VARCHAR, max_length=MAX_BYTES["section"])
    for name in ("lead", "header"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    add_fields(schema, spec.metadata_keys)
    if spec.principals:
        schema.add_field(
            GROUPS,
            DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_capacity=MAX_GROUPS,
            max_length=MAX_GROUP_BYTES,
        )
    schema.add_field(DENSE, DataType.FLOAT_VECTOR, dim=spec.dimension)
    if sparse:
        schema.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
        if not in_passage:
            schema.add_field(WORDS, DataType.VARCHAR, max_length=MAX_BYTES["passage"], **analyzed)
        schema.add_function(Function("bm25", FunctionType.BM25, ["passage" if in_passage else WORDS], [SPARSE]))
    return schema


def indexes(spec: CollectionSpec, traits: ServerTraits) -> Mapping[str, Any]:
    """Returns the parameters of each index, by its name, which is the name of its field."""
    wanted = {DENSE: _INDEXES[DENSE]} | ({SPARSE: _INDEXES[SPARSE]} if traits.capabilities.sparse else {})
    for key, type_ in spec.metadata_keys.items():
        if type_ in traits.key_indexes:
            wanted[value_field(key)] = {"index_type": traits.key_indexes[type_]}
    params = {field: MilvusClient.prepare_index_params() for field in wanted}
    for field, index in wanted.items():
        params[field].add_index(field, index_name=field, **index)
    return params
