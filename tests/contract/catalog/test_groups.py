"""Catalog: groups of documents. Lists and totals for groups are of the documents that any of them may read."""

from dataclasses import replace

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.types import JobId, Totals
from tests.support.stores.catalog import a_collection, a_document

GROUPS = {"a": ("board",), "b": (), "c": ("board", "staff"), "d": ('quote " and \\', "五金"), "e": ("staff",)}


@pytest.fixture
async def filled(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(replace(a_collection("minutes"), principals=True))
    await catalog.add_collection(a_collection("open"))
    of_groups = [replace(a_document(id_, collection="minutes"), groups=groups) for id_, groups in GROUPS.items()]
    await catalog.accept(JobId("one"), "minutes", of_groups)
    await catalog.accept(JobId("two"), "open", [a_document("f", collection="open")])
    return catalog


async def test_they_come_back_as_they_were(filled: SqlCatalog) -> None:
    assert (await filled.collection("minutes")).principals
    assert not (await filled.collection("open")).principals
    assert {each.document.id: each.document.groups for each in await filled.documents("minutes")} == GROUPS
    assert (await filled.documents("open"))[0].document.groups is None


@pytest.mark.parametrize(
    ("groups", "ids"),
    [
        (["board"], "ac"),
        (["staff", "board", "nobody"], "ace"),
        (["五金"], "d"),
        (['quote " and \\'], "d"),
        (["BOARD", "boar", "board,staff", '["board"]'], ""),
        ([], ""),
        (["staff", *(f"other {number}" for number in range(999))], "ce"),
    ],
)
async def test_lists_and_totals_are_of_what_they_may_read(filled: SqlCatalog, groups: list[str], ids: str) -> None:
    listed = await filled.documents("minutes", groups=groups)
    assert "".join(each.document.id for each in listed) == ids
    totals = await filled.totals(["minutes", "open"], groups=groups)
    assert totals.get("minutes", Totals()).unfinished == len(ids)
    assert totals["open"].unfinished == 1
    assert len(await filled.documents("open", groups=groups)) == 1


async def test_pages_of_what_they_may_read(filled: SqlCatalog) -> None:
    first = await filled.documents("minutes", groups=["board"], limit=1)
    second = await filled.documents("minutes", groups=["board"], limit=1, after=first[0].document.id)
    assert [each.document.id for each in (*first, *second)] == ["a", "c"]
    assert await filled.documents("minutes", groups=["board"], prefix="b") == []


async def test_a_later_version_has_its_own(filled: SqlCatalog) -> None:
    changed = replace(a_document("a", collection="minutes"), groups=("staff",))
    await filled.accept(JobId("new"), "minutes", [changed])
    assert (await filled.document("minutes", changed.id)).document.groups == ("staff",)
    assert [each.document.id for each in await filled.documents("minutes", groups=["board"])] == ["c"]
