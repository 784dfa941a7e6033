import pytest
from pymilvus import DataType

from retrieval.errors import StoreFailed
from retrieval.filters.metadata_keys import MAX_KEYS
from retrieval.stores.milvus.schema import WORDS, collection_schema, indexes, server_traits
from retrieval.types import CollectionSpec


@pytest.mark.parametrize(
    ("version", "server", "number", "modern"),
    [
        ("v2.3.5-lite", "milvus", "2.3.5", False),
        ("v2.4.23", "milvus", "2.4.23", False),
        ("v2.5.0", "milvus", "2.5.0", True),
        ("2.6.1", "milvus", "2.6.1", True),
        ("v2.10.0-rc1", "milvus", "2.10.0", True),
        ("v3.0-20260101-abcdef", "milvus", "3.0", True),
    ],
)
def test_a_server_by_its_version(version: str, server: str, number: str, modern: bool) -> None:
    traits = server_traits(version, ours=False)
    assert (traits.capabilities.server, traits.capabilities.version) == (server, number)
    assert (traits.capabilities.sparse, traits.templates, traits.partition_key) == (modern, modern, modern)
    assert traits.concurrent_writes
    assert traits.search_during_writes
    assert traits.misses_few
    assert not traits.slow_until_flushed
    if not modern:
        assert traits.capabilities.sparse_missing.startswith(f"Milvus {number} has no BM25")


def test_lite_is_no_server_of_version_3() -> None:
    traits = server_traits("milvus_lite-3.2.2", ours=True)
    assert (traits.capabilities.server, traits.capabilities.version) == ("milvus-lite", "3.2.2")
    assert traits.capabilities.sparse
    assert not traits.capabilities.several_writers
    assert not traits.templates
    assert not traits.concurrent_writes
    assert traits.search_during_writes
    assert not traits.misses_few
    assert server_traits("milvus_lite-3.2.2", ours=False).misses_few
    assert not server_traits("milvus_lite-3.2.2", ours=False).search_during_writes


def test_an_unreadable_version_is_refused() -> None:
    with pytest.raises(StoreFailed, match="'unknown'"):
        server_traits("unknown", ours=False)


@pytest.mark.parametrize(
    ("version", "ours", "field", "tokenizer"),
    [
        ("milvus_lite-3.2.2", True, "passage", WORDS),
        ("milvus_lite-3.2.2", False, WORDS, "standard"),
        ("2.6.1", False, WORDS, "whitespace"),
    ],
)
def test_words_are_counted_by_our_process_and_sent_to_other_servers(
    version: str, ours: bool, field: str, tokenizer: str
) -> None:
    traits = server_traits(version, ours=ours)
    schema = collection_schema(CollectionSpec(3), traits).to_dict()
    fields = {field["name"]: field for field in schema["fields"]}
    analyzed = [name for name, each in fields.items() if "analyzer_params" in each.get("params", {})]
    assert analyzed == [field]
    assert tokenizer in str(fields[field]["params"]["analyzer_params"])
    assert fields["partition"]["is_partition_key"] is True
    [function] = schema["functions"]
    assert (function["input_field_names"], function["output_field_names"]) == ([field], ["sparse"])
    assert list(indexes(CollectionSpec(3), traits)) == ["dense", "sparse"]


def test_an_old_server_gets_neither_sparse_field_nor_partition_key() -> None:
    traits = server_traits("v2.3.5", ours=False)
    fields = {field["name"]: field for field in collection_schema(CollectionSpec(3), traits).to_dict()["fields"]}
    assert "sparse" not in fields
    assert not fields["partition"].get("is_partition_key", False)
    assert fields["dense"]["type"] == DataType.FLOAT_VECTOR
    assert list(indexes(CollectionSpec(3), traits)) == ["dense"]


def test_declared_keys_get_fields_and_the_indexes_that_a_server_has() -> None:
    spec = CollectionSpec(3, metadata_keys={"year": "int", "tag": "text", "price": "float", "draft": "bool"})
    for version, kinds in (
        ("v2.3.5", {"year": "STL_SORT", "tag": "Trie", "price": "STL_SORT"}),
        ("2.6.1", dict.fromkeys(spec.metadata_keys, "INVERTED")),
        ("milvus_lite-3.2.2", {}),
    ):
        traits = server_traits(version, ours=False)
        fields = {field["name"]: field["type"] for field in collection_schema(spec, traits).to_dict()["fields"]}
        assert fields["meta_year"] == DataType.INT64
        assert fields["meta_tag"] == DataType.VARCHAR
        assert fields["meta_price"] == DataType.DOUBLE
        assert fields["meta_draft"] == DataType.BOOL
        assert {fields[f"has_{key}"] for key in spec.metadata_keys} == {DataType.BOOL}
        found = {name: params[0].to_dict()["index_type"] for name, params in indexes(spec, traits).items()}
        assert {name: kind for name, kind in found.items() if name.startswith("meta_")} == {
            f"meta_{key}": kind for key, kind in kinds.items()
        }


def test_a_collection_with_all_keys_that_can_be_declared_has_not_too_many_fields() -> None:
    spec = CollectionSpec(3, metadata_keys={f"k{number}": "text" for number in range(MAX_KEYS)})
    assert len(collection_schema(spec, server_traits("2.6.1", ours=False)).fields) <= 64
