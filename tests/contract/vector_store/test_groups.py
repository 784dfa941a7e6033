"""Groups: a store finds what any of a caller's groups may read, and nothing else."""

from dataclasses import replace

import pytest

from retrieval.errors import StoreFailed
from retrieval.filters.evaluate import matches
from retrieval.filters.groups import MAX_CALLER_GROUPS, MAX_GROUP_BYTES, MAX_GROUPS
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import And, Filter, InGroups, Not
from retrieval.ports import VectorStore
from retrieval.types import CollectionSpec, DocumentId, StoreName
from tests.support.stores.vector_store import DIMENSION, EAST, created, direction, ids, new_name, row

NAMES = ["kiln", "glaze", 'quote " and \\', "{value0}", "五金", "kil", "[1]"]
GROUPS: list[tuple[str, ...]] = [
    (),
    *((name,) for name in NAMES),
    ("kiln", "glaze"),
    tuple(f"{number:0{MAX_GROUP_BYTES}}" for number in range(MAX_GROUPS)),
]
ROWS = [
    replace(row(DocumentId(f"d{number % 3}"), number, chunk_id=f"row {number}"), groups=groups)
    for number, groups in enumerate(GROUPS)
]
FULL = CollectionSpec(DIMENSION, principals=True)


@pytest.fixture(scope="module")
async def filled(store: VectorStore) -> StoreName:
    name = new_name()
    await store.create_collection(name, FULL)
    await store.upsert(name, ROWS)
    assert await store.count(name) == len(ROWS)
    return name


async def check(store: VectorStore, name: StoreName, filter: Filter) -> None:
    hits = await store.search(name, direction(EAST), limit=100, filter=filter)
    assert sorted(hit.chunk.id for hit in hits) == sorted(ids([each for each in ROWS if matches(filter, each)]))


class TestGroups:
    @pytest.mark.parametrize("name", [*NAMES, "nobody", "KILN", "*"])
    async def test_one_group_reads_what_names_it(self, store: VectorStore, filled: StoreName, name: str) -> None:
        await check(store, filled, InGroups((name,)))
        await check(store, filled, Not(InGroups((name,))))

    async def test_many_groups_read_what_any_of_them_may(self, store: VectorStore, filled: StoreName) -> None:
        others = tuple(f"other {number}" for number in range(MAX_CALLER_GROUPS - 2))
        await check(store, filled, InGroups((*others, "glaze", "0" * MAX_GROUP_BYTES)))
        await check(store, filled, InGroups(others))

    async def test_no_group_reads_nothing(self, store: VectorStore, filled: StoreName) -> None:
        assert not matches(InGroups(()), ROWS[0])
        await check(store, filled, InGroups(()))

    async def test_other_conditions_apply_as_well(self, store: VectorStore, filled: StoreName) -> None:
        named = parse_filter({"type": "eq", "key": "document_id", "value": "d2"}, {})
        await check(store, filled, And((InGroups(("kiln", "glaze")), named)))

    async def test_a_replaced_chunk_has_its_new_groups(self, store: VectorStore) -> None:
        name = new_name()
        await store.create_collection(name, FULL)
        await store.upsert(name, [replace(ROWS[1], groups=("kiln",))])
        await store.upsert(name, [replace(ROWS[1], groups=("glaze",))])
        assert await store.count(name) == 1  # a search alone may not see what was just written
        for group, found in (("kiln", 0), ("glaze", 1)):
            assert len(await store.search(name, direction(EAST), limit=9, filter=InGroups((group,)))) == found

    async def test_a_collection_keeps_to_what_it_was_made_with(self, store: VectorStore) -> None:
        plain = await created(store)
        with pytest.raises(StoreFailed, match="groups"):
            await store.create_collection(plain, FULL)
