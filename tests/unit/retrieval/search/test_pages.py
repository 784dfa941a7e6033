"""Pages are the parts of one list, whatever the scores."""

import asyncio
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.query import Fusion, Mode, Reranking, SearchQuery, SearchResult
from retrieval.search.service import SearchService
from retrieval.types import StoreName
from tests.support.stores.hits import names
from tests.support.stores.stages import ScriptedEmbedder, ScriptedReranker, ScriptedStore

NAMES = [f"d{document}/{chunk}" for document in range(8) for chunk in range(5)]


def everybody(seed: int) -> dict[str, float]:
    chance = Random(seed)
    return {name: chance.gauss(0.4, 0.2) for name in NAMES}


FEW = st.dictionaries(st.sampled_from(NAMES), st.floats(-1, 1, width=16), min_size=1)
SCORES = st.one_of(FEW, st.builds(everybody, st.integers(0, 10_000)))


def queries() -> st.SearchStrategy[SearchQuery]:
    reranking = st.one_of(st.none(), st.builds(Reranking, weight=st.sampled_from([None, 0.3, 0.7, 1.0])))
    return st.builds(
        SearchQuery,
        text=st.just("why"),
        mode=st.sampled_from([None, "dense", "sparse", "hybrid"]),
        fusion=st.builds(
            Fusion,
            method=st.sampled_from(["weighted", "rrf"]),
            weights=st.sampled_from([{"dense": 1.0, "sparse": 1.0}, {"dense": 0.2, "sparse": 1.0}]),
        ),
        candidates=st.integers(1, 45),
        reranking=reranking,
        by_document=st.booleans(),
        diversity=st.sampled_from([0.0, 0.4, 1.0]),
        min_score=st.sampled_from([None, -0.5, 0.2]),
    )


async def walked(service: SearchService, query: SearchQuery, sizes: list[int]) -> list[str]:
    """Hits page by page, the pages of changing size."""
    seen: list[str] = []
    page = await ask(service, replace(query, top_k=min(sizes[0], query.candidates)))
    for number in range(len(NAMES) + 1):
        seen += names(list(page.hits))
        if page.next is None:
            return seen
        assert page.hits, "a page led to an empty one"
        page = await ask(service, replace(query, top_k=sizes[number % len(sizes)], place=page.next))
    raise AssertionError("the walk does not end")


async def ask(service: SearchService, query: SearchQuery) -> SearchResult:
    return await service.search(StoreName("docs"), ScriptedEmbedder(), query)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(SCORES, SCORES, SCORES, queries(), st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_a_walk_shows_each_hit_once_and_in_the_order_of_the_one_long_list(
    dense: dict[str, float], sparse: dict[str, float], rerank: dict[str, float], query: SearchQuery, sizes: list[int]
) -> None:
    service = SearchService(ScriptedReranker(rerank), ScriptedStore(dense, sparse), ["en"])  # type: ignore[arg-type]

    async def both() -> tuple[SearchResult, list[str]]:
        return await ask(service, replace(query, top_k=query.candidates)), await walked(service, query, sizes)

    whole, seen = asyncio.run(both())
    assert whole.next is None, "the list is as long as its pool"
    assert len(set(seen)) == len(seen)
    assert seen == names(list(whole.hits))


async def test_a_page_does_as_the_first_one_did_though_the_reranker_came_back() -> None:
    scores = {name: number / 100 for number, name in enumerate(NAMES)}
    store = ScriptedStore(scores, scores)
    service = SearchService(ScriptedReranker(scores), store, ["en"])  # type: ignore[arg-type]
    first = await ask(service, SearchQuery("why", mode="sparse", top_k=5, candidates=20, reranking=None))
    assert first.next is not None
    assert (first.next.offset, first.next.pool, first.next.mode, first.next.reranked) == (5, 20, "sparse", 0)
    more: Mode = "sparse"
    second = await ask(service, SearchQuery("why", top_k=100, reranking=None, mode=more, place=first.next))
    assert store.limits[-1] == 20
    assert len(second.hits) == 15
    assert second.next is None
