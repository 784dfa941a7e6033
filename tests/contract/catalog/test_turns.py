"""Catalog: jobs take turns."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from ingestion.catalog.catalog import SqlCatalog
from ingestion.types import Document, JobId
from retrieval.types import DocumentId
from tests.support.stores.catalog import (
    LEASE,
    NOW,
    WORKER,
    a_collection,
    a_document,
    failure,
    ingest,
    retitled,
    success,
)

BIG, SMALL, THIRD = JobId("big"), JobId("small"), JobId("third")
SECOND = timedelta(seconds=1)


@pytest.fixture
async def catalog(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(a_collection())
    return catalog


def named(name: str, count: int) -> list[Document]:
    return [a_document(f"{name}{number}") for number in range(count)]


async def claimed(catalog: SqlCatalog, limit: int, *, largest: int | None = None) -> list[str]:
    claims = await catalog.claim(WORKER, limit=limit, lease=LEASE, now=NOW, largest=largest)
    return [str(claim.record.document.id) for claim in claims]


async def everything(catalog: SqlCatalog) -> list[str]:
    found: list[str] = []
    while one := await claimed(catalog, 1):
        found += one
    return found


class TestTurns:
    async def test_a_small_job_does_not_wait_for_all_of_a_big_one(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", named("b", 20))
        assert await claimed(catalog, 4) == ["b0", "b1", "b2", "b3"]
        await catalog.accept(SMALL, "docs", named("s", 3))
        assert await claimed(catalog, 4) == ["b4", "s0", "b5", "s1"]
        # A third one comes: whichever it is, nobody waits for more than one document of each other.
        await catalog.accept(THIRD, "docs", named("t", 2))
        assert await claimed(catalog, 6) == ["b6", "s2", "t0", "b7", "t1", "b8"]
        assert await everything(catalog) == [f"b{number}" for number in range(9, 20)]

    async def test_of_jobs_that_keep_coming_let_a_big_one_through(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", named("b", 10))
        found: list[str] = []
        # As much comes as is claimed.
        for number in range(20):
            await catalog.accept(JobId(f"{number}"), "docs", [a_document(f"s{number}")])
            found += await claimed(catalog, 1)
        of_the_big = [name for name in found if name.startswith("b")]
        assert of_the_big == [f"b{number}" for number in range(len(of_the_big))]
        assert len(of_the_big) >= 5

    async def test_of_many_jobs_begin_with_the_first_document_of_each(self, catalog: SqlCatalog) -> None:
        for job in "abcde":
            await catalog.accept(JobId(job), "docs", named(job, 3))
        assert await everything(catalog) == [f"{job}{number}" for number in range(3) for job in "abcde"]

    async def test_are_between_all_collections(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection("other"))
        await catalog.accept(BIG, "docs", named("b", 3))
        await catalog.accept(SMALL, "other", [a_document("s", collection="other")])
        assert await everything(catalog) == ["b0", "s", "b1", "b2"]

    async def test_do_not_wait_for_documents_that_are_as_they_were(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, *named("s", 20), job="first")
        await catalog.accept(BIG, "docs", named("b", 20))
        changed = [retitled(document, "new") for document in named("s", 20)[17:]]
        # 17 are as they were, and one of the others is named twice.
        await catalog.accept(SMALL, "docs", [*named("s", 17), *changed, changed[0]])
        assert await claimed(catalog, 6) == ["b0", "s18", "b1", "s19", "b2", "s17"]

    async def test_of_a_later_version_are_those_of_its_job(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", named("b", 5))
        await catalog.accept(SMALL, "docs", [a_document("s"), retitled(a_document("b0"), "new")])
        assert await everything(catalog) == ["s", "b1", "b0", "b2", "b3", "b4"]

    async def test_in_the_background_are_turns_as_well_and_go_after_all_others(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", named("b", 4), background=True)
        assert await claimed(catalog, 2) == ["b0", "b1"]
        await catalog.accept(SMALL, "docs", named("s", 2), background=True)
        await catalog.accept(THIRD, "docs", named("t", 3))
        assert await everything(catalog) == ["t0", "t1", "t2", "b2", "s0", "b3", "s1"]

    async def test_come_back_to_what_is_tried_again(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", named("b", 6))
        first, second = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW)
        await catalog.complete([failure(first, retry_at=NOW + SECOND), success(second)])
        assert await claimed(catalog, 1) == ["b2"]
        later = await catalog.claim(WORKER, limit=2, lease=LEASE, now=NOW + SECOND)
        assert [claim.record.document.id for claim in later] == ["b0", "b3"]
        # What is given back is next, and so is what nobody holds any more.
        await catalog.release(later[1:])
        assert await claimed(catalog, 1) == ["b3"]
        again = await catalog.claim(WORKER, limit=5, lease=LEASE, now=NOW + SECOND + LEASE)
        assert [claim.record.document.id for claim in again] == ["b0", "b2", "b3", "b4", "b5"]

    async def test_of_repairs_are_those_of_one_job(self, catalog: SqlCatalog) -> None:
        repaired = named("r", 6)
        await ingest(catalog, *repaired, job="first")
        await catalog.accept(BIG, "docs", named("b", 3))
        # One by one, as an audit finds them.
        for document in repaired:
            assert await catalog.requeue("docs", {document.id: 1}, now=NOW) == 1
        assert await claimed(catalog, 4) == ["b0", "r0", "b1", "r1"]
        await catalog.accept(SMALL, "docs", named("s", 2))
        assert await everything(catalog) == ["b2", "s0", "r2", "s1", "r3", "r4", "r5"]

    async def test_of_repairs_in_one_call_follow_one_another(self, catalog: SqlCatalog) -> None:
        await ingest(catalog, *named("r", 4), job="first")
        await catalog.accept(BIG, "docs", named("b", 3), background=True)
        await catalog.accept(SMALL, "docs", [a_document("s0"), a_document("s1")])
        assert await catalog.requeue("docs", {DocumentId(f"r{n}"): 1 for n in range(4)}, now=NOW) == 4
        assert await everything(catalog) == ["s0", "r0", "s1", "r1", "r2", "r3", "b0", "b1", "b2"]

    async def test_of_large_documents_are_not_passed_by_those_who_leave_them_out(self, catalog: SqlCatalog) -> None:
        await catalog.accept(BIG, "docs", [a_document(f"b{number}", f"{number}" * 50) for number in range(5)])
        await catalog.accept(SMALL, "docs", [a_document(f"s{number}", f"{number}") for number in range(5)])
        assert await claimed(catalog, 4, largest=10) == ["s0", "s1", "s2", "s3"]
        await catalog.accept(THIRD, "docs", [a_document("t", "t" * 50)])
        assert await claimed(catalog, 3) == ["b0", "t", "b1"]

    async def test_of_many_nodes_at_once_leave_nobody_out(self, catalog: SqlCatalog, database_url: str) -> None:
        nodes = [SqlCatalog(database_url) for _ in range(3)]
        for node in nodes:
            await node.start()
        expected = {f"n{number} {document}" for number in range(6) for document in range(20)}

        async def accept(number: int) -> None:
            names = [f"n{number} {document}" for document in range(20)]
            await nodes[number % 3].accept(JobId(f"{number}"), "docs", [a_document(name) for name in names])

        async def claim(node: SqlCatalog) -> Sequence[str]:
            found: list[str] = []
            for _ in range(15):
                claims = await node.claim(WORKER, limit=3, lease=LEASE, now=NOW)
                await node.complete([success(claim) for claim in claims])
                found += [str(claim.record.document.id) for claim in claims]
            return found

        results = await asyncio.gather(*(accept(number) for number in range(6)), *(claim(node) for node in nodes * 2))
        found = [name for result in results[6:] for name in result or ()]
        found += await everything(catalog)
        assert len(found) == len(expected)
        assert set(found) == expected
        for node in nodes:
            await node.close()
