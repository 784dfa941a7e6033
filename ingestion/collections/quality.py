"""Compares the quality of two collections: both are searched with queries whose answers are known."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion.types import GoldenQuery
from retrieval.errors import Unavailable
from retrieval.evaluation.metrics import measure
from retrieval.ports import Embedder
from retrieval.search.query import Reranking, SearchQuery
from retrieval.search.service import SearchService
from retrieval.types import StoreName

MEASURE = "nDCG@10"
DEPTH = 10
CANDIDATES = 50
HITS_REQUESTED = 50
"""Hits per query. Several chunks of one document count as one result, so more hits are requested than documents are
measured."""

Side = tuple[StoreName, Embedder]


@dataclass(frozen=True, slots=True)
class Verdict:
    """nDCG@10 over the golden queries: as recalled, and after reranking."""

    queries: int
    before: float
    after: float
    before_reranked: float
    after_reranked: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both measures passed. Users get the reranked answer. Recall feeds it, and is the answer of a search
        without reranking.
        """
        return (
            self.after >= self.before - self.tolerance and self.after_reranked >= self.before_reranked - self.tolerance
        )

    @property
    def message(self) -> str:
        word = "within" if self.passed else "not within"
        return (
            f"{MEASURE} over {self.queries} queries went from {self.before:.3f} to {self.after:.3f} (recall) and from "
            f"{self.before_reranked:.3f} to {self.after_reranked:.3f} (reranked), {word} the tolerance of "
            f"{self.tolerance:g}."
        )


class Quality:
    def __init__(self, search: SearchService) -> None:
        self._search = search

    async def compare(self, golden: Sequence[GoldenQuery], before: Side, after: Side, tolerance: float) -> Verdict:
        """Compares both sides. Raises the errors of a search, and Unavailable if the reranker is away, since the
        comparison would be incomplete.
        """
        return Verdict(
            queries=len(golden),
            before=await self._score(golden, before, rerank=False),
            after=await self._score(golden, after, rerank=False),
            before_reranked=await self._score(golden, before, rerank=True),
            after_reranked=await self._score(golden, after, rerank=True),
            tolerance=tolerance,
        )

    async def _score(self, golden: Sequence[GoldenQuery], side: Side, *, rerank: bool) -> float:
        store_name, embedder = side
        relevant: dict[str, Sequence[str]] = {}
        rankings: dict[str, Sequence[str]] = {}
        for number, question in enumerate(golden):
            # By vectors alone: recall by words would hide what another model lost.
            query = SearchQuery(
                question.query,
                mode="dense",
                top_k=HITS_REQUESTED,
                candidates=CANDIDATES,
                reranking=Reranking(any_language=True) if rerank else None,
            )
            result = await self._search.search(store_name, embedder, query)
            if rerank and result.hits and not result.rerank.applied:
                raise Unavailable(f"The reranker is unavailable ({result.rerank.reason}): the comparison has to wait.")
            found = dict.fromkeys(str(hit.candidate.chunk.document_id) for hit in result.hits)
            rankings[str(number)] = list(found)[:DEPTH]
            relevant[str(number)] = question.relevant
        return measure(relevant, rankings)[MEASURE]
