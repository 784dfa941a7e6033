"""The audit on parts in memory, with ingestion, deletes and replacements happening between its looks."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from retrieval.types import StoreName
from tests.support.models.fake_models import FakeEmbedder
from tests.support.stores.audited import Audited, audit, auditor, counts


async def test_agreement_is_clean_and_everything_was_looked_at(audited: Audited) -> None:
    audited.add_collection("other")
    audited.add("elsewhere", chunks=5, collection="other")
    report = await audit(audited)
    assert report.clean
    assert (report.collections, report.documents, report.chunks, report.blobs) == (2, 8, 26, 8)
    assert report.findings == report.notes == ()


@pytest.mark.parametrize("name", ["a", "doc-25", "doc-3x", "doc-7", "z"])
async def test_chunks_of_an_unknown_document_are_deleted_wherever_its_id_lies(audited: Audited, name: str) -> None:
    whole = dict(audited.rows())
    audited.rows().update({f"{number:032x}": name for number in range(4)})
    report = await audit(audited)
    assert counts(report) == {"chunks_without_document": (4, 0)}
    assert report.findings[0].examples == (name,)
    assert not report.clean
    repaired = await audit(audited, repair=True)
    assert counts(repaired) == {"chunks_without_document": (4, 4)}
    assert repaired.clean
    assert audited.rows() == whole
    assert (await audit(audited)).findings == ()


async def test_missing_foreign_and_exchanged_chunks_make_a_document_outdated(audited: Audited) -> None:
    rows = audited.rows()
    del rows[audited.add("missing")[0]]
    audited.add("more")
    rows["ab" * 16] = "more"
    del rows[audited.add("exchanged")[0]]
    rows["not hexadecimal"] = "exchanged"
    for id_ in audited.add("lost"):
        del rows[id_]
    report = await audit(audited, repair=True)
    assert counts(report) == {"documents_outdated": (4, 4)}
    assert set(audited.catalog.requeued) == {"missing", "more", "exchanged", "lost"}


async def test_without_repair_nothing_is_changed(audited: Audited) -> None:
    audited.rows()["ab" * 16] = "unknown"
    audited.rows()["cd" * 16] = "doc-1"
    audited.blobs.kept["0" * 64] = (b"", datetime(2020, 1, 1, tzinfo=UTC))
    before = (dict(audited.rows()), dict(audited.catalog.records), dict(audited.blobs.kept))
    report = await audit(audited)
    assert set(counts(report)) == {"chunks_without_document", "documents_outdated", "blobs_without_owner"}
    assert before == (audited.rows(), audited.catalog.records, audited.blobs.kept)


async def test_of_an_earlier_release_only_the_number_counts(audited: Audited) -> None:
    audited.change("doc-1", chunk_digest="")
    report = await audit(audited)
    assert report.clean
    assert [(note.kind, note.count) for note in report.notes] == [("documents_counted_only", 1)]
    audited.rows()["cd" * 16] = "doc-1"
    assert counts(await audit(audited)) == {"documents_outdated": (1, 0)}


async def test_leftovers_of_failed_documents_are_cleared_under_a_lease(audited: Audited) -> None:
    audited.fail("doc-1")
    audited.fail("doc-2", searchable=True)
    report = await audit(audited, repair=True)
    assert counts(report) == {"failed_documents_with_chunks": (1, 1)}
    assert "doc-1" not in audited.rows().values()
    assert "doc-2" in audited.rows().values()
    assert audited.catalog.leased == set()


async def test_a_failed_document_that_comes_again_is_left_alone(audited: Audited) -> None:
    audited.fail("doc-1")
    audited.catalog.before["claim_document"] = lambda: audited.change("doc-1", state="queued", version=2)
    report = await audit(audited, repair=True)
    assert counts(report) == {"failed_documents_with_chunks": (1, 0)}
    assert "doc-1" in audited.rows().values()
    assert audited.catalog.leased == set()


async def test_a_failed_replacement_that_mixed_versions_is_told_and_not_queued(audited: Audited) -> None:
    audited.fail("doc-2", searchable=True)
    audited.rows()["ab" * 16] = "doc-2"
    assert counts(await audit(audited, repair=True)) == {"documents_outdated": (1, 0)}
    assert audited.catalog.requeued == []


async def test_what_could_not_be_written_anew_is_not_queued(audited: Audited) -> None:
    audited.rows()["ab" * 16] = "doc-1"
    other_model = await auditor(audited, embedder=FakeEmbedder()).run(repair=True)
    assert counts(other_model) == {"documents_outdated": (1, 0)}
    assert [note.kind for note in other_model.notes] == ["collections_of_another_model"]
    audited.blobs.kept.pop(audited.catalog.records["docs", "doc-1"].document.sha256)
    no_original = await audit(audited, repair=True)
    assert counts(no_original) == {"documents_outdated": (1, 0), "originals_missing": (1, 0)}
    assert audited.catalog.requeued == []


async def test_documents_in_work_and_documents_that_change_are_not_judged(audited: Audited) -> None:
    audited.rows().clear()
    audited.change("doc-0", state="processing")
    audited.change("doc-1", state="queued")
    # Replaced, and deleted and sent again, while the store is read for the first time.
    audited.store.after["every"] = lambda: audited.change("doc-2", version=2)
    report = await audit(audited)
    assert counts(report) == {"documents_outdated": (4, 0)}
    notes = {note.kind: note.examples for note in report.notes}
    assert notes == {"documents_moving": ("doc-0", "doc-1", "doc-2"), "documents_waiting_long": ("doc-0", "doc-1")}


async def test_a_difference_that_the_second_look_does_not_see_does_not_count(audited: Audited) -> None:
    ids = audited.add("doc-1")
    del audited.rows()[ids[0]]
    audited.store.before["texts"] = lambda: audited.rows().update({ids[0]: "doc-1"})
    assert (await audit(audited)).findings == ()
    audited.add("new")
    new = audited.catalog.records.pop(("docs", "new"))
    audited.catalog.before["documents_named"] = lambda: audited.catalog.records.update({("docs", "new"): new})
    assert (await audit(audited, repair=True)).findings == ()


async def test_documents_that_moved_to_other_vectors_own_the_old_ones_no_longer(audited: Audited) -> None:
    audited.rows()["ab" * 16] = "unknown"
    moved = replace(audited.catalog.known["docs"], store_name=StoreName("elsewhere"))
    audited.store.before["texts"] = lambda: audited.catalog.known.update(docs=moved)
    assert (await audit(audited, repair=True, collection="docs")).findings == ()
    assert "ab" * 16 in audited.rows()
