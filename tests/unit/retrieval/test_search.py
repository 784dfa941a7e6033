from retrieval.fusion import alone
from retrieval.search import rank
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId, RerankScores


def candidate(name: str, score: float) -> Candidate:
    chunk = Chunk(ChunkId(name), DocumentId(name), 0, name, 0, len(name), 1)
    return Candidate(chunk, score, title="", media_type="text/plain", partition="", metadata={}, ingested_at=None)


RECALLED = alone("dense", [candidate("a", 0.9), candidate("b", 0.8), candidate("c", 0.7)])


def scores(*values: float) -> RerankScores:
    return RerankScores(values, tokens=9, truncated_tokens=(0, 3, 0), truncated_query_tokens=0, model="m")


def test_without_rerank_scores_recall_order_stands() -> None:
    hits = rank(RECALLED, None)
    assert [hit.candidate.chunk.id for hit in hits] == ["a", "b", "c"]
    assert [(hit.score, dict(hit.scores), dict(hit.ranks)) for hit in hits[:1]] == [(0.9, {"dense": 0.9}, {"dense": 1})]


def test_rerank_scores_decide_and_both_ranks_are_told() -> None:
    hits = rank(RECALLED, scores(0.1, 0.9, 0.5))
    assert [hit.candidate.chunk.id for hit in hits] == ["b", "c", "a"]
    assert [dict(hit.ranks) for hit in hits] == [
        {"dense": 2, "rerank": 1},
        {"dense": 3, "rerank": 2},
        {"dense": 1, "rerank": 3},
    ]
    assert [hit.score for hit in hits] == [0.9, 0.5, 0.1]
    assert dict(hits[0].scores) == {"dense": 0.8, "rerank": 0.9}
    assert [hit.truncated_tokens for hit in hits] == [3, 0, 0]


def test_ties_keep_recall_order() -> None:
    assert [hit.candidate.chunk.id for hit in rank(RECALLED, scores(0.5, 0.5, 0.5))] == ["a", "b", "c"]
