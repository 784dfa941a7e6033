"""Evaluations of the page: bounds, failures, and what is kept."""

import asyncio
import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ir_measures.util import Qrel

from app.access.caller import Caller
from app.errors import LimitReached, Unauthorized
from app.http.schemas.answer import HitOut, ModelsOut, RerankOut, SearchOut, TimingsOut
from app.ui.evaluation import judged
from app.ui.evaluation.changes import compare
from app.ui.evaluation.judged import Judgement, Judgements, read_archive, write_archive
from app.ui.evaluation.runs import KEPT, Evaluation, Evaluations, Search
from ingestion.errors import Overloaded
from ingestion.types import Chunking, Collection
from retrieval.errors import InvalidRequest, Unsupported
from retrieval.evaluation.datasets import Dataset
from retrieval.types import Fingerprint, StoreName

QUERIES = {"q1": "ash glaze", "q2": "river clay"}


def evaluation(seconds: int = 60, owner: str | None = "a") -> Evaluation:
    dataset = Dataset("docs", "mixed", (), 0, QUERIES, tuple(Qrel(query, query, 1) for query in QUERIES))
    fingerprint = Fingerprint("m", "0" * 12, 4, True, "1")
    collection = Collection(
        "docs", StoreName("docs"), fingerprint, "mixed", Chunking(), datetime(2026, 1, 1, tzinfo=UTC)
    )
    return Evaluation(owner, dataset, collection, 2, 2, 0, None, candidates=10, queries=2, seconds=seconds)


def answer(document: str, reason: str | None = None) -> SearchOut:
    hit: dict[str, Any] = {"document_id": document}
    read: dict[str, Any] = {
        "hits": [HitOut.model_construct(**hit)],
        "rerank": RerankOut(applied=reason is None, reason=reason, candidates=1, scored=1, ms=1.0),
        "timings_ms": TimingsOut(embed=1.0, recall=1.0, rerank=1.0, total=3.0),
        "models": ModelsOut(embed="e", rerank="r"),
    }
    return SearchOut.model_construct(**read)


async def ended(search: Search, of: Evaluation | None = None) -> Evaluation:
    """A run that has ended by itself."""
    started, evaluations = of or evaluation(), Evaluations()
    evaluations.start(started, search)
    await evaluations.wait()
    return started


async def perfect(body: Mapping[str, Any]) -> SearchOut:
    return answer(next(id_ for id_, text in QUERIES.items() if text == body["query"]))


async def test_every_query_is_measured_in_every_setting() -> None:
    sent = []

    async def search(body: Mapping[str, Any]) -> SearchOut:
        sent.append((body["query"], body["mode"], body["rerank"]))
        return answer("q1")

    found = await ended(search)
    assert found.state == "succeeded"
    assert len(set(sent)) == len(sent) == 12
    assert found.run
    assert [row.measures["MRR@10"] for row in found.run.collections[0].rows] == [0.5] * 6


async def test_time_that_is_over_ends_a_run_without_an_answer() -> None:
    async def search(body: Mapping[str, Any]) -> SearchOut:
        await asyncio.Event().wait()
        return await perfect(body)

    found = await ended(search, evaluation(seconds=0))
    assert (found.state, found.run) == ("failed", None)
    assert "allow more time" in found.message


async def test_a_key_that_was_revoked_ends_its_run() -> None:
    async def search(body: Mapping[str, Any]) -> SearchOut:
        if body["query"] == QUERIES["q2"]:
            raise Unauthorized("This API key was revoked.")
        return answer("q1")

    found = await ended(search)
    assert (found.state, found.message, found.done) == ("failed", "This API key was revoked.", 1)


async def test_a_busy_node_is_waited_for() -> None:
    refusals = iter([Overloaded("busy", retry_after_s=0), LimitReached("slow", retry_after_s=0)])

    async def search(body: Mapping[str, Any]) -> SearchOut:
        for refusal in refusals:
            raise refusal
        return await perfect(body)

    assert (await ended(search)).done == 2


async def test_without_bm25_the_vectors_are_measured() -> None:
    async def search(body: Mapping[str, Any]) -> SearchOut:
        if body["mode"] != "dense":
            raise Unsupported("no BM25 here")
        return await perfect(body)

    found = await ended(search)
    assert found.run
    [run] = found.run.collections
    assert [row.name for row in run.rows] == ["dense", "dense + rerank"]
    assert run.no_bm25 == "no BM25 here"


async def test_figures_without_reranking_are_not_shown_as_reranked() -> None:
    async def search(body: Mapping[str, Any]) -> SearchOut:
        return answer("q1", "deadline" if body["rerank"] else "not_requested")

    found = await ended(search)
    assert (found.state, found.message) == ("failed", "Reranking was not applied: deadline. Choose fewer candidates.")


async def test_the_oldest_run_goes_and_each_key_sees_its_own() -> None:
    evaluations = Evaluations()
    runs = [evaluation(owner="a" if number else "b") for number in range(KEPT + 1)]
    for number, each in enumerate(runs):
        evaluations.start(each, perfect)
        await evaluations.wait()
        if number == 0:
            assert evaluations.find(each.id, Caller("b")) is each
            assert evaluations.find(each.id, Caller("a")) is None
    assert evaluations.find(runs[0].id, Caller("b")) is None
    assert evaluations.of(Caller("a")) == runs[:0:-1]


async def test_only_queries_of_the_same_text_are_compared() -> None:
    async def other(_: Mapping[str, Any]) -> SearchOut:
        return answer("q1")

    before, after = (await ended(other)).run, (await ended(perfect)).run
    assert before
    assert after
    now, then = after.collections[0], before.collections[0]
    compared = compare(now, before)
    assert [(each.before, each.after) for each in compared] == [(0.5, 1.0)] * 6
    assert [change.text for change in compared[0].changes] == ["river clay"]
    then.texts["q2"] = "another question"  # type: ignore[index]
    assert [(each.queries, each.after) for each in compare(now, before)] == [(1, 1.0)] * 6


def test_an_archive_in_a_folder_is_read_and_a_large_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = Judgements(collection="docs", judgements=[Judgement(query="ash", document_id="a", relevant=True)])
    written = write_archive([{"_id": "a", "title": "", "text": "Ash glaze."}], marks)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(written)) as source, zipfile.ZipFile(packed, "w") as target:
        for name in source.namelist():
            target.writestr(f"docs/{name}", source.read(name))
    dataset = read_archive(packed.getvalue(), "docs.zip", tmp_path / "unpacked")
    assert (dataset.name, dict(dataset.queries)) == ("docs", {"q1": "ash"})
    assert list((tmp_path / "unpacked").iterdir()) == []
    monkeypatch.setattr(judged, "MAX_UNPACKED_BYTES", 20)
    with pytest.raises(InvalidRequest, match="holds more than 20 bytes"):
        read_archive(packed.getvalue(), "docs.zip", tmp_path)
