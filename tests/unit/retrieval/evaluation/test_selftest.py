"""Every fault that the self-test is there for is caught, and by the check that names it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from retrieval.errors import EngineDead, EngineFailed
from retrieval.evaluation.selftest import GOLDEN_PAIRS, run_selftest
from retrieval.types import Embeddings, Lane, RerankScores, SelfTestReport, TextKind, Vectors
from tests.support.models.fake_models import FakeEmbedder, FakeReranker

Spoil = Callable[[Vectors, Sequence[str]], Vectors]
SpoilScores = Callable[[list[float], Sequence[str]], list[float]]


class BrokenEmbedder(FakeEmbedder):
    def __init__(self, spoil: Spoil) -> None:
        super().__init__()
        self._spoil = spoil

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        result = await super().embed(texts, kind=kind, lane=lane, instruction=instruction)
        return replace(result, vectors=self._spoil(result.vectors.copy(), texts))


class BrokenReranker(FakeReranker):
    def __init__(self, spoil: SpoilScores) -> None:
        super().__init__()
        self._spoil = spoil

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        result = await super().rerank(query, passages, lane=lane, instruction=instruction)
        return replace(result, scores=tuple(self._spoil(list(result.scores), passages)))


async def _run(
    embedder: FakeEmbedder | None = None,
    reranker: FakeReranker | None = None,
    *,
    check_margin: bool = True,
    check_distinct: bool = True,
) -> SelfTestReport:
    embedder, reranker = embedder or FakeEmbedder(), reranker or FakeReranker()
    await embedder.start()
    await reranker.start()
    return await run_selftest(
        embedder, reranker, check_margin=check_margin, check_distinct=check_distinct, languages=["en", "zh"]
    )


def _failed(report: SelfTestReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _nan_at_the_end(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    vectors[-1, 0] = np.nan
    return vectors


def _noisy() -> Spoil:
    random = np.random.default_rng(0)
    return lambda vectors, texts: _unit(vectors + random.normal(0, 0.01, vectors.shape).astype(np.float32))


def _spoils_what_a_cache_holds() -> Spoil:
    """Right the first time that a long beginning is seen, wrong whenever it comes from the cache."""
    seen: set[str] = set()

    def spoil(vectors: Vectors, texts: Sequence[str]) -> Vectors:
        for row, text in enumerate(texts):
            if len(text) > 500:
                if text[:500] in seen:
                    vectors[row] = -vectors[row]
                seen.add(text[:500])
        return vectors

    return spoil


ASCEND_BLOCK_TOKENS = 128
CACHED_COSINE = 0.58
"""What was measured with vllm-ascend 0.13 between a text's first vector and every later one (its issue 5725)."""


def _ascend_prefix_cache() -> Spoil:
    """A text is right the first time; one whose first block is in the cache is turned away from its own vector."""
    blocks: set[str] = set()

    def spoil(vectors: Vectors, texts: Sequence[str]) -> Vectors:
        for row, text in enumerate(texts):
            words = text.split()
            block = " ".join(words[:ASCEND_BLOCK_TOKENS])
            if len(words) > ASCEND_BLOCK_TOKENS and block in blocks:
                aside = np.roll(vectors[row], 1)
                aside -= (aside @ vectors[row]) * vectors[row]
                aside /= np.linalg.norm(aside)
                vectors[row] = CACHED_COSINE * vectors[row] + np.sqrt(1 - CACHED_COSINE**2) * aside
            blocks.add(block)
        return vectors

    return spoil


def _reverses_batches(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    return vectors[::-1]


def _same_for_all(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    return np.repeat(np.eye(1, vectors.shape[1], dtype=np.float32), len(texts), axis=0)


def _by_length(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    angles = np.array([len(text) for text in texts], dtype=np.float32)
    planes = np.zeros_like(vectors)
    planes[:, 0], planes[:, 1] = np.cos(angles), np.sin(angles)
    return planes


def _drifting_scores() -> SpoilScores:
    calls = count()
    return lambda scores, passages: [score * 0.9 + 0.05 * (next(calls) % 3) for score in scores]


def _cached_scores_drop() -> SpoilScores:
    seen: set[str] = set()

    def spoil(scores: list[float], passages: Sequence[str]) -> list[float]:
        out = [
            score / 2 + 0.4 if passage[:500] in seen else score for score, passage in zip(scores, passages, strict=True)
        ]
        seen.update(passage[:500] for passage in passages if len(passage) > 500)
        return out

    return spoil


async def test_sound_models_pass_every_check() -> None:
    report = await _run()
    assert report.passed, _failed(report)
    names = [check.name for check in report.checks]
    assert len(set(names)) == len(names)
    assert {"embed.margin.en", "embed.margin.zh", "rerank.margin.en", "rerank.margin.zh"} <= set(names)
    assert all(check.detail for check in report.checks)
    assert report.ms > 0


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda vectors, texts: vectors[:, :-1], "embed.dimension"),
        (lambda vectors, texts: vectors[:-1], "embed.dimension"),
        (lambda vectors, texts: vectors * np.float32(1.01), "embed.unit_norm"),
        (_nan_at_the_end, "embed.finite"),
        (_noisy(), "embed.deterministic"),
        (_spoils_what_a_cache_holds(), "embed.shared_prefix"),
        (_reverses_batches, "embed.batch"),
        (_same_for_all, "embed.distinct"),
        (_by_length, "embed.margin.en"),
        (_by_length, "embed.margin.zh"),
    ],
)
async def test_a_broken_embedder_is_caught_by_name(spoil: Spoil, name: str) -> None:
    failed = _failed(await _run(BrokenEmbedder(spoil)))
    assert name in failed
    assert not any(other.startswith("rerank.") for other in failed)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda scores, passages: scores[:-1], "rerank.answers"),
        (lambda scores, passages: [score * 30 - 15 for score in scores], "rerank.range"),
        (lambda scores, passages: [float("nan")] * len(scores), "rerank.range"),
        (_drifting_scores(), "rerank.deterministic"),
        (_cached_scores_drop(), "rerank.shared_prefix"),
        (lambda scores, passages: scores[::-1], "rerank.batch"),
        (lambda scores, passages: [0.5] * len(scores), "rerank.distinct"),
        (lambda scores, passages: [0.5] * len(scores), "rerank.margin.en"),
        (lambda scores, passages: [1 - score for score in scores], "rerank.margin.en"),
        (lambda scores, passages: [1 - score for score in scores], "rerank.margin.zh"),
    ],
)
async def test_a_broken_reranker_is_caught_by_name(spoil: SpoilScores, name: str) -> None:
    failed = _failed(await _run(reranker=BrokenReranker(spoil)))
    assert name in failed
    assert not any(other.startswith("embed.") for other in failed)


async def test_only_the_cache_check_sees_a_broken_cache() -> None:
    assert _failed(await _run(BrokenEmbedder(_spoils_what_a_cache_holds()))) == {"embed.shared_prefix"}
    assert _failed(await _run(reranker=BrokenReranker(_cached_scores_drop()))) == {"rerank.shared_prefix"}


async def test_the_prefix_cache_of_old_vllm_ascend_is_caught_with_its_cosine() -> None:
    report = await _run(BrokenEmbedder(_ascend_prefix_cache()))
    assert _failed(report) == {"embed.shared_prefix"}
    (detail,) = (check.detail for check in report.checks if not check.passed)
    assert detail.startswith("cosine cold against cached 0.58, ")


async def test_without_margins_random_rankings_pass_and_dead_constants_do_not() -> None:
    inverted = BrokenReranker(lambda scores, passages: [1 - score for score in scores])
    assert (await _run(reranker=inverted, check_margin=False)).passed
    constant = BrokenReranker(lambda scores, passages: [0.5] * len(scores))
    assert _failed(await _run(reranker=constant, check_margin=False)) == {"rerank.distinct"}


async def test_margins_are_asked_for_in_the_model_s_languages_only() -> None:
    embedder, reranker = FakeEmbedder(), FakeReranker()
    await embedder.start()
    await reranker.start()
    report = await run_selftest(embedder, reranker, check_margin=True, languages=["zh"])
    assert {check.name for check in report.checks if "margin" in check.name} == {"embed.margin.zh", "rerank.margin.zh"}


async def test_a_refusal_is_a_failed_check_of_that_model_and_a_dead_engine_propagates() -> None:
    embedder = FakeEmbedder()
    embedder.fail_with = EngineFailed("vector 3 is not finite")
    report = await _run(embedder)
    assert _failed(report) == {"embed.answers"}
    assert any(check.detail == "vector 3 is not finite" for check in report.checks)
    embedder.fail_with = EngineDead("The engine ended.")
    with pytest.raises(EngineDead):
        await _run(embedder)


def test_each_language_has_several_pairs_whose_texts_are_all_different() -> None:
    texts = [text for pair in GOLDEN_PAIRS for text in (pair.query, pair.relevant, pair.irrelevant)]
    assert len(set(texts)) == len(texts)
    for language in ("en", "zh"):
        assert sum(pair.language == language for pair in GOLDEN_PAIRS) >= 3


async def test_models_that_hardly_look_at_their_input_pass_where_that_is_known() -> None:
    def alike(vectors: Vectors, texts: Sequence[str]) -> Vectors:
        return _unit(np.ones_like(vectors))

    def halves(scores: list[float], passages: Sequence[str]) -> list[float]:
        return [0.5] * len(scores)

    models = BrokenEmbedder(alike), BrokenReranker(halves)
    assert _failed(await _run(*models, check_margin=False)) == {"embed.distinct", "rerank.distinct"}
    report = await _run(*models, check_margin=False, check_distinct=False)
    assert report.passed
    assert {"embed.dimension", "embed.unit_norm", "embed.deterministic", "rerank.deterministic"} <= {
        check.name for check in report.checks
    }
