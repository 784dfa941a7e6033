"""The audit of originals and of whole collections, on parts in memory."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from ingestion.audit.auditor import AuditOptions
from ingestion.audit.report import MAX_EXAMPLES
from ingestion.errors import AuditRunning
from retrieval.errors import CollectionNotFound, StoreUnavailable
from tests.support.stores.audited import LONG_AGO, Audited, audit, auditor, counts
from tests.support.waiting import until


def blob(text: str) -> str:
    return sha256(text.encode()).hexdigest()


async def test_old_blobs_without_an_owner_are_retired(audited: Audited) -> None:
    audited.blobs.kept[blob("old")] = (b"old", LONG_AGO)
    audited.blobs.kept[blob("young")] = (b"young", datetime.now(UTC) - timedelta(minutes=59))
    report = await audit(audited)
    assert counts(report) == {"blobs_without_owner": (1, 0)}
    assert report.findings[0].examples == (blob("old"),)
    assert counts(await audit(audited, repair=True)) == {"blobs_without_owner": (1, 1)}
    assert blob("old") not in audited.blobs.kept
    assert blob("young") in audited.blobs.kept
    assert len(audited.blobs.kept) == 8


async def test_a_blob_that_finds_an_owner_between_two_looks_does_not_count(audited: Audited) -> None:
    audited.blobs.kept = {blob("text of late"): (b"text of late", LONG_AGO)}
    audited.catalog.after["blobs_in_use"] = lambda: audited.add("late")
    report = await audit(audited, repair=True)
    assert "blobs_without_owner" not in counts(report)
    assert blob("text of late") in audited.blobs.kept


async def test_documents_without_their_original_are_told_by_id(audited: Audited) -> None:
    audited.add_collection("other")
    audited.add("doc-3", collection="other")
    del audited.blobs.kept[blob("text of doc-3")]
    report = await audit(audited, repair=True)
    assert counts(report) == {"originals_missing": (1, 0)}
    assert [(finding.collection, finding.examples) for finding in report.findings] == [
        ("docs", ("doc-3",)),
        ("other", ("doc-3",)),
    ]


async def test_an_original_is_not_missing_that_is_there_at_the_second_look(audited: Audited) -> None:
    digest = blob("text of doc-3")
    kept = audited.blobs.kept.pop(digest)
    audited.blobs.before["get"] = lambda: audited.blobs.kept.update({digest: kept})
    assert (await audit(audited)).findings == ()
    audited.blobs.kept.pop(digest)
    audited.blobs.before["get"] = lambda: audited.catalog.records.pop(("docs", "doc-3"))
    report = await audit(audited)
    assert "originals_missing" not in counts(report)


async def test_one_collection_is_audited_without_the_rest(audited: Audited) -> None:
    audited.add_collection("other")
    audited.add("elsewhere", collection="other")
    audited.rows()["ab" * 16] = "unknown"
    audited.store.rows["strange__0123456789ab"] = {}
    audited.blobs.kept[blob("old")] = (b"old", LONG_AGO)
    report = await audit(audited, collection="other")
    assert (report.collections, report.documents, report.findings) == (1, 1, ())
    with pytest.raises(CollectionNotFound):
        await audit(audited, collection="nowhere")


async def test_collections_that_one_side_alone_knows(audited: Audited) -> None:
    for name in ("strange__0123456789ab", "strange__0123456789ab_2", "theirs", "theirs__01234"):
        audited.store.rows[name] = {}
    audited.add_collection("lost")
    del audited.store.rows["lost__" + audited.catalog.known["lost"].fingerprint.digest]
    report = await audit(audited, repair=True)
    assert counts(report) == {"collections_not_in_store": (1, 0), "collections_not_in_catalog": (2, 0)}
    assert report.findings[1].examples == ("strange__0123456789ab", "strange__0123456789ab_2")
    assert "strange__0123456789ab" in audited.store.rows


async def test_a_collection_that_is_created_or_deleted_meanwhile_is_no_finding(audited: Audited) -> None:
    audited.add_collection("new")
    new = audited.catalog.known.pop("new")

    def created() -> None:
        audited.catalog.known["new"] = new

    # Its vectors are there at the first look, its row in the catalog at the second.
    audited.store.after["list_collections"] = lambda: audited.store.before.update(list_collections=created)
    audited.add_collection("going")
    del audited.store.rows["going__" + audited.catalog.known["going"].fingerprint.digest]
    audited.store.before["every"] = lambda: audited.catalog.known.pop("going")
    assert (await audit(audited)).findings == ()


async def test_examples_are_bounded_and_counts_are_not(audited: Audited) -> None:
    audited.rows().update({f"{number:032x}": f"unknown-{number:03}" for number in range(150)})
    options = AuditOptions(portion=1000, settle=timedelta(0))
    (finding,) = (await auditor(audited, options=options).run()).findings
    assert finding.count == 150
    assert len(finding.examples) == MAX_EXAMPLES == 100


async def test_more_unknown_documents_than_a_portion_are_left_to_the_next_audit(audited: Audited) -> None:
    audited.rows().update({f"{number:032x}": f"z-{number}" for number in range(5)})
    first = await audit(audited, repair=True)
    assert counts(first) == {"chunks_without_document": (3, 3)}
    assert [(note.kind, note.count) for note in first.notes] == [("chunks_not_judged", 2)]
    assert not first.clean
    assert counts(await audit(audited, repair=True)) == {"chunks_without_document": (2, 2)}
    assert (await audit(audited)).clean


async def test_one_audit_at_a_time_and_after_a_cancelled_one_the_next(audited: Audited) -> None:
    auditing = auditor(audited, options=AuditOptions(settle=timedelta(hours=1)))
    audited.store.rows["strange__0123456789ab"] = {}
    first = asyncio.create_task(auditing.run())
    await until(lambda: "list_collections" in audited.store.calls)
    with pytest.raises(AuditRunning):
        await auditing.run()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    del audited.store.rows["strange__0123456789ab"]
    assert (await auditing.run()).clean


async def test_a_part_that_is_away_ends_the_audit_with_its_own_error(audited: Audited) -> None:
    def away() -> None:
        raise StoreUnavailable("It is away.")

    auditing = auditor(audited)
    audited.store.after["every"] = away
    with pytest.raises(StoreUnavailable):
        await auditing.run()
    assert (await auditing.run()).clean


async def test_a_document_that_comes_back_while_its_old_chunks_are_deleted_is_done_once_more(audited: Audited) -> None:
    ids = audited.add("back")
    record = audited.catalog.records.pop(("docs", "back"))
    audited.store.before["delete"] = lambda: audited.catalog.records.update({("docs", "back"): record})
    await audit(audited, repair=True)
    assert not set(ids) & set(audited.rows())
    assert audited.catalog.requeued == ["back"]
