"""What a question can ask of its answer, through HTTP: grouping, variety, company, pages, several at once, limits of
time."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from uuid import uuid4

import pytest

from retrieval.errors import EngineDead
from retrieval.types import Lane, RerankScores
from tests.support.nodes.node import NodeUnderTest, running

SUBJECTS = ("anchors", "bells", "cranes", "docks")
LINES = [f"Part {part} tells of {subject} and of their care." for subject in SUBJECTS for part in range(6)]


@pytest.fixture(scope="module")
async def filled(node: NodeUnderTest) -> NodeUnderTest:
    """Documents of six chunks each, a sentence each, that overlap."""
    await node.http.post("/collections", json={"name": "quay", "language": "en"})
    await node.ingest(
        *({"id": subject, "text": "\n\n".join(line for line in LINES if subject in line)} for subject in SUBJECTS),
        collection="quay",
        chunking={"max_tokens": 16, "overlap": 0},
    )
    return node


async def test_by_document_each_stands_once_and_names_its_other_hits(filled: NodeUnderTest) -> None:
    answer = await filled.search("care of bells and docks", collection="quay", group_by="document", top_k=10)
    documents = [hit["document_id"] for hit in answer["hits"]]
    assert sorted(documents) == sorted(SUBJECTS)
    assert set(documents[:2]) == {"bells", "docks"}
    first = answer["hits"][0]
    assert len(first["others"]) == 5
    assert first["chunk_id"] not in {other["chunk_id"] for other in first["others"]}
    assert all(other["score"] <= first["score"] for other in first["others"])


async def test_diversity_brings_other_documents_forward(filled: NodeUnderTest) -> None:
    question = {"query": "care of bells", "collection": "quay", "top_k": 4}
    plain = await filled.search(**question)
    diverse = await filled.search(**question, diversity=1)
    assert {hit["document_id"] for hit in plain["hits"]} == {"bells"}
    assert len({hit["document_id"] for hit in diverse["hits"]}) > 1
    assert diverse["score_name"] == "diverse"
    scores = [hit["score"] for hit in diverse["hits"]]
    assert scores == sorted(scores, reverse=True)


async def test_neighbors_come_as_one_text(filled: NodeUnderTest) -> None:
    answer = await filled.search("Part 2 cranes", collection="quay", top_k=1, neighbors=1)
    (hit,) = answer["hits"]
    lines = [line for line in LINES if "cranes" in line]
    assert hit["text"] == lines[2]
    whole = "\n\n".join(lines)
    context = hit["context"]
    assert context["text"] == "\n".join(lines[1:4])
    assert whole[context["start"] : context["end"]] == "\n\n".join(lines[1:4])
    edge = await filled.search("Part 0 cranes", collection="quay", top_k=1, neighbors=2)
    assert edge["hits"][0]["context"]["text"] == "\n".join(lines[:3])


PARTS = {"title", "text", "section", "metadata", "scores", "ranks"}


@pytest.mark.parametrize("include", [[], ["section"], ["text", "scores"], sorted(PARTS)])
async def test_a_hit_has_the_parts_that_are_included(filled: NodeUnderTest, include: list[str]) -> None:
    question = {"collection": "quay", "top_k": 2, "neighbors": 1, "group_by": "document"}
    every = await filled.search("Part 2 cranes", **question)
    chosen = await filled.search("Part 2 cranes", **question, include=include)
    several = await filled.http.post("/search", json={"queries": ["Part 2 cranes"], **question, "include": include})
    expected = [
        {name: value for name, value in hit.items() if name not in PARTS.difference(include)} for hit in every["hits"]
    ]
    assert chosen["hits"] == several.json()["results"][0]["hits"] == expected
    assert all(hit["context"] and hit["others"] for hit in expected)
    assert chosen.keys() == every.keys()


async def test_pages_may_include_other_parts(filled: NodeUnderTest) -> None:
    question = {"query": "care of anchors", "collection": "quay", "top_k": 2}
    first = await filled.search(**question, include=[])
    second = await filled.search(**question, cursor=first["next_cursor"])
    assert second["hits"][0]["text"]
    assert second["hits"][0]["chunk_id"] not in {hit["chunk_id"] for hit in first["hits"]}


async def test_an_unknown_part_is_refused_with_the_known_ones(filled: NodeUnderTest) -> None:
    refused = await filled.http.post("/search", json={"query": "docks", "include": ["text", "vector"]})
    assert refused.status_code == 422
    message = refused.json()["error"]["message"]
    assert "include.1" in message
    assert all(part in message for part in PARTS)


async def test_highlights_are_sentences_of_the_hit(filled: NodeUnderTest) -> None:
    answer = await filled.search("docks", collection="quay", top_k=2, highlights=1)
    for hit in answer["hits"]:
        (highlight,) = hit["highlights"]
        assert hit["text"][highlight["start"] - hit["start"] : highlight["end"] - hit["start"]] == highlight["text"]
    plain = await filled.search("docks", collection="quay", top_k=1)
    assert plain["hits"][0]["highlights"] is plain["hits"][0]["context"] is None


@pytest.mark.parametrize("how", [{"rerank": False}, {}, {"group_by": "document"}, {"diversity": 0.3}])
async def test_pages_are_the_parts_of_one_order(filled: NodeUnderTest, how: dict[str, object]) -> None:
    question = {"query": "care of anchors", "collection": "quay", "candidates": 24, **how}
    whole = [hit["chunk_id"] for hit in (await filled.search(**question, top_k=100))["hits"]]
    paged: list[object] = []
    cursor, pages = None, 0
    while cursor or not pages:
        answer = await filled.search(**question, top_k=3, cursor=cursor)
        paged += [hit["chunk_id"] for hit in answer["hits"]]
        cursor, pages = answer["next_cursor"], pages + 1
    assert paged == whole
    assert pages == -(-len(whole) // 3)


@pytest.mark.parametrize("how", [{}, {"fusion": {"method": "rrf"}}, {"group_by": "document"}])
async def test_pages_end_with_their_pool(filled: NodeUnderTest, how: dict[str, object]) -> None:
    question = {"query": "care of anchors and bells", "collection": "quay", "candidates": 7, "rerank": False, **how}
    first = await filled.search(**question, top_k=3)
    rest = await filled.search(**question, top_k=100, cursor=first["next_cursor"]) if first["next_cursor"] else None
    whole = await filled.search(**question, top_k=7)
    hits = [*first["hits"], *(rest["hits"] if rest else [])]
    assert [hit["chunk_id"] for hit in hits] == [hit["chunk_id"] for hit in whole["hits"]]
    assert whole["next_cursor"] is None
    assert rest is None or (rest["next_cursor"], rest["recall"]["candidates"]) == (None, 7)


async def test_a_page_is_an_error_rather_than_of_another_order(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = {"query": "care of cranes", "collection": "quay", "top_k": 3}
    cursor = (await filled.search(**question))["next_cursor"]
    monkeypatch.setattr(filled.reranker, "fail_with", EngineDead("gone"))
    refused = await filled.http.post("/search", json={**question, "cursor": cursor})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_dead")
    unranked = await filled.search(**question)
    monkeypatch.setattr(filled.reranker, "fail_with", None)
    following = await filled.search(**question, cursor=unranked["next_cursor"])
    assert following["score_name"] == unranked["score_name"] == "fused"


async def test_an_edited_cursor_is_refused(filled: NodeUnderTest) -> None:
    question = {"query": "care", "collection": "quay", "top_k": 3}
    raw = urlsafe_b64decode((await filled.search(**question))["next_cursor"])
    assert b"[3, 50," in raw
    for edited in (raw.replace(b"[3, 50,", b"[3, 9000,"), raw[16:], b"[10000, 10000]"):
        body = {**question, "cursor": urlsafe_b64encode(edited).decode()}
        refused = await filled.http.post("/search", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")


async def test_more_than_can_be_ranked_in_time_is_refused(filled: NodeUnderTest) -> None:
    for wrong in (
        {"candidates": 401},
        {"candidates": 1001, "rerank": False},
        {"queries": ["x"] * 11, "top_k": 10, "highlights": 1},
    ):
        query = {} if "queries" in wrong else {"query": "x"}
        refused = await filled.http.post("/search", json={"collection": "quay", **query, **wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request"), wrong
    await filled.search("docks", collection="quay", candidates=1000, rerank=False)


async def test_a_cursor_is_of_its_question_only(filled: NodeUnderTest) -> None:
    question = {"query": "care", "collection": "quay", "rerank": False, "top_k": 3}
    cursor = (await filled.search(**question))["next_cursor"]
    for wrong in ({"query": "other"}, {"candidates": 7}, {"cursor": "x"}):
        refused = await filled.http.post("/search", json={**question, "cursor": cursor, **wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
        assert "cursor" in refused.json()["error"]["message"]


async def test_several_questions_are_answered_as_if_asked_alone(filled: NodeUnderTest) -> None:
    queries = [f"Part {part} {subject}" for part, subject in enumerate(SUBJECTS)]
    batch = await filled.http.post("/search", json={"queries": queries, "collection": "quay", "top_k": 3})
    results = batch.json()["results"]
    for query, result in zip(queries, results, strict=True):
        alone = await filled.search(query, collection="quay", top_k=3)
        assert [hit["chunk_id"] for hit in result["hits"]] == [hit["chunk_id"] for hit in alone["hits"]]
        assert result["next_cursor"] is None


async def test_one_kind_of_question(node: NodeUnderTest) -> None:
    for wrong in (
        {},
        {"query": "x", "queries": ["y"]},
        {"queries": []},
        {"queries": ["x"] * 33},
        {"queries": ["x", " "]},
        {"queries": ["x"], "cursor": "y"},
        {"query": "x", "rerank": "perhaps"},
        {"query": "x", "rerank_weight": 0},
        {"query": "x", "diversity": 1.5},
        {"query": "x", "budget_ms": 0},
    ):
        answer = await node.http.post("/search", json=wrong)
        assert answer.status_code == 422, wrong


async def test_a_weight_blends_and_says_so(filled: NodeUnderTest) -> None:
    answer = await filled.search("Part 3 docks", collection="quay", top_k=5, rerank_weight=0.5)
    assert answer["score_name"] == "blended"
    for hit in answer["hits"]:
        assert hit["score"] == hit["scores"]["blended"]
        assert hit["scores"].keys() >= {"rerank", "fused", "blended"}
    assert [hit["ranks"]["blended"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]


async def test_another_reranker_than_the_one_that_runs_is_refused(filled: NodeUnderTest) -> None:
    assert (await filled.search("docks", collection="quay", rerank_model="fake-reranker"))["rerank"]["applied"]
    refused = await filled.http.post("/search", json={"query": "x", "collection": "quay", "rerank_model": "other"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    assert "fake-reranker" in refused.json()["error"]["message"]


class Slow:
    """Holds back the passages of one wave until somebody gives up on it."""

    def __init__(self, node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
        self.begun = asyncio.Event()
        self.dropped = asyncio.Event()
        self._rerank = node.reranker.rerank
        self._left = after
        monkeypatch.setattr(node.reranker, "rerank", self.rerank)

    async def rerank(
        self, query: str, passages: list[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        self.begun.set()
        self._left -= 1
        if self._left < 0:
            try:
                await asyncio.Event().wait()
            finally:
                self.dropped.set()
        return await self._rerank(query, passages, lane=lane, instruction=instruction)


async def test_when_time_is_up_the_answer_says_what_was_scored(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(filled, monkeypatch, after=1)
    answer = await filled.search("docks", collection="quay", top_k=24, budget_ms=400)
    rerank = answer["rerank"]
    assert (rerank["applied"], rerank["reason"], rerank["candidates"], rerank["scored"]) == ("partial", "budget", 24, 8)
    scores = [hit["score"] for hit in answer["hits"]]
    assert None not in scores[:8]
    assert set(scores[8:]) == {None}
    behind = [hit["ranks"]["fused"] for hit in answer["hits"][8:]]
    assert behind == sorted(behind)


async def test_a_bound_on_scores_lets_no_unscored_hit_through(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    Slow(filled, monkeypatch, after=1)
    answer = await filled.search("docks", collection="quay", top_k=24, budget_ms=400, min_score=-1)
    assert (answer["rerank"]["reason"], len(answer["hits"])) == ("budget", 8)


async def test_required_reranking_that_cannot_be_is_503(filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await filled.search("docks", collection="quay", rerank="required"))["rerank"]["applied"] is True
    Slow(filled, monkeypatch, after=0)
    question = {"query": "docks", "collection": "quay", "rerank": "required", "budget_ms": 50}
    refused = await filled.http.post("/search", json=question)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "budget_exceeded")
    assert "retry-after" in refused.headers


async def test_a_caller_that_hangs_up_ends_its_work(filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(filled, monkeypatch, after=0)
    body = b'{"query": "docks", "collection": "quay"}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop()
        await slow.begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/search",
        "raw_path": b"/search", "query_string": b"", "root_path": "", "scheme": "http", "server": ("node", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
    }  # fmt: skip
    transport = filled.http._transport
    await asyncio.wait_for(transport.app(scope, receive, send), 30)  # type: ignore[attr-defined]
    assert slow.dropped.is_set()
    assert sent[0]["status"] == 499


async def test_identifiers_are_never_mixed_up(filled: NodeUnderTest) -> None:
    """Two documents of the same text are two hits, each with its own neighbours."""
    name = f"twins_{uuid4().hex[:8]}"
    await filled.http.post("/collections", json={"name": name, "duplicates": "store"})
    text = "\n\n".join(f"Line {number} of the twins says what the other one says." for number in range(3))
    documents = [{"id": twin, "text": text} for twin in ("left", "right")]
    await filled.ingest(*documents, collection=name, chunking={"max_tokens": 16, "overlap": 0})
    answer = await filled.search("Line 1 of the twins", collection=name, top_k=2, neighbors=1)
    assert {hit["document_id"] for hit in answer["hits"]} == {"left", "right"}
    assert all(hit["context"]["text"] == text.replace("\n\n", "\n") for hit in answer["hits"])


async def test_what_is_excluded_is_not_found(filled: NodeUnderTest) -> None:
    question = {"query": "care of bells", "collection": "quay", "top_k": 100}
    hits = (await filled.search(**question))["hits"]
    chunk = hits[0]["chunk_id"]
    left = await filled.search(**question, exclude={"chunks": [chunk], "documents": ["docks", "cranes"]})
    expected = {hit["chunk_id"] for hit in hits if hit["document_id"] not in ("docks", "cranes")} - {chunk}
    assert {hit["chunk_id"] for hit in left["hits"]} == expected
    bells = {"type": "eq", "key": "document_id", "value": "bells"}
    both = await filled.search(**question, exclude={"chunks": [chunk]}, filter=bells)
    assert len(both["hits"]) == 5


def hang(monkeypatch: pytest.MonkeyPatch, part: object, method: str) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(part, method, never)


async def test_words_answer_within_the_budget_when_the_embedder_hangs(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(monkeypatch, filled.embedder, "embed")
    answer = await filled.search("care of bells", collection="quay", budget_ms=400)
    assert answer["recall"] == {"mode": "sparse", "candidates": 24, "reason": "budget", "weights": None}
    assert answer["rerank"]["applied"] is True


@pytest.mark.parametrize(("method", "more"), [("search_text", {}), ("chunks", {"neighbors": 1})])
async def test_a_store_that_hangs_is_503_within_the_budget(
    filled: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, object]
) -> None:
    hang(monkeypatch, filled.components.store, method)
    question = {"query": "care of bells", "collection": "quay", "budget_ms": 300, **more}
    refused = await filled.http.post("/search", json=question)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "budget_exceeded")
    assert refused.json()["error"]["detail"]["part"] == "vector store"
    assert int(refused.headers["retry-after"]) > 0


async def test_a_catalog_that_hangs_is_503_within_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, search_deadline_seconds=1) as node:
        hang(monkeypatch, node.components.catalog, "collection")
        refused = await node.http.post("/search", json={"query": "care"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "budget_exceeded")
        assert "TANDEM_SEARCH_DEADLINE_SECONDS" in refused.json()["error"]["message"]


async def test_a_catalog_that_hangs_is_503_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, search_deadline_seconds=60) as node:
        hang(monkeypatch, node.components.catalog, "collection")
        refused = await node.http.post("/search", json={"query": "care", "budget_ms": 100})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "budget_exceeded")
        assert "100 ms of budget_ms" in refused.json()["error"]["message"]


async def test_without_candidates_as_many_are_reranked_as_fit_the_time(tmp_path: Path) -> None:
    async with running(tmp_path, rerank_seconds=1e-9) as node:
        await node.ingest(*({"id": str(number), "text": line} for number, line in enumerate(LINES)))
        answer = await node.search("care of bells", top_k=5)
        counts = answer["recall"]["candidates"], answer["rerank"]["candidates"], answer["rerank"]["scored"]
        assert counts == (len(LINES), 5, 5)
        assert len(answer["hits"]) == 5
        assert answer["next_cursor"] is None
        stated = await node.search("care of bells", top_k=5, candidates=9)
        assert (stated["rerank"]["candidates"], stated["rerank"]["applied"]) == (9, True)
