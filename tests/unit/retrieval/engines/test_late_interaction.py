"""MaxSim against its definition, written out in loops; the reranker on an engine that sees which tokens are equal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import Unigram, WordLevel
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing

from retrieval.engines.late_interaction import LateInteractionReranker, SharedEngine, maxsim
from retrieval.engines.vllm.options import EngineOptions
from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.models.folder import read_surprisals
from retrieval.types import Lane, TokenIds, Vectors

WORDS = {"<s>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁of": -2.0, "▁kilns": -9.0, "▁oven": -8.0, "▁the": -0.25}


class EqualTokens:
    """One direction for each token of the vocabulary."""

    async def encode(self, token_ids: Sequence[TokenIds], **_: Any) -> Sequence[Vectors]:
        return [np.eye(len(WORDS), dtype=np.float32)[list(ids)] for ids in token_ids]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(Unigram(list(WORDS.items()), unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


async def scores(folder: Path, *passages: str, weighs_tokens: bool) -> list[float]:
    options = EngineOptions(name="words", model=folder, task="token_embed", max_model_len=64, memory_share=0.1)
    engine = SharedEngine(EqualTokens())  # type: ignore[arg-type]
    reranker = LateInteractionReranker(options, shared=engine, weighs_tokens=weighs_tokens)
    found = await reranker.rerank("of kilns", passages, lane=Lane.INTERACTIVE)
    return [pytest.approx(2 * score - 1) for score in found.scores]


async def test_rare_tokens_of_the_query_count_more_if_the_model_states_so(folder: Path) -> None:
    passages = "kilns", "of the oven", "of kilns", "the oven"
    assert await scores(folder, *passages, weighs_tokens=False) == [0.5, 0.5, 1, 0]
    assert await scores(folder, *passages, weighs_tokens=True) == [9 / 11, 2 / 11, 1, 0]


def test_surprisals_are_the_negative_logarithms_and_at_least_one(folder: Path) -> None:
    assert read_surprisals(folder).tolist() == [1, 1, 1, 2, 9, 8, 1]


def test_a_vocabulary_without_probabilities_has_no_surprisals(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json"):
        read_surprisals(tmp_path)
    Tokenizer(WordLevel({"of": 0}, unk_token="of")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="WordLevel"):
        read_surprisals(tmp_path)


def _by_definition(query: np.ndarray, passage: np.ndarray, weights: Sequence[float]) -> float:
    best = [max(float(q @ p) / float(np.linalg.norm(q) * np.linalg.norm(p)) for p in passage) for q in query]
    return sum(weight * cosine for weight, cosine in zip(weights, best, strict=True)) / sum(weights)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_equals_the_definition(seed: int, lengths: list[int]) -> None:
    random = np.random.default_rng(seed)
    query = random.normal(size=(3, 8)).astype(np.float32)
    passages = [random.normal(size=(length, 8)).astype(np.float32) * 5 for length in lengths]
    expected = [_by_definition(query, passage, [1, 1, 1]) for passage in passages]
    np.testing.assert_allclose(maxsim(query, passages), expected, atol=1e-5)
    weights = random.uniform(1, 15, size=3).astype(np.float32)
    weighted = [_by_definition(query, passage, weights.tolist()) for passage in passages]
    np.testing.assert_allclose(maxsim(query, passages, weights), weighted, atol=1e-5)


def test_a_passage_that_holds_the_query_scores_one() -> None:
    query = np.eye(4, dtype=np.float32)[:2]
    whole, half, none = np.eye(4, dtype=np.float32), query[:1], np.eye(4, dtype=np.float32)[3:]
    assert maxsim(query, [whole, half, none]).tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_empty_passage_is_lowest_and_moves_no_other(position: int) -> None:
    random = np.random.default_rng(0)
    query = random.normal(size=(3, 8)).astype(np.float32)
    passages = [random.normal(size=(4, 8)).astype(np.float32) for _ in range(2)]
    scores = maxsim(query, passages).tolist()
    passages.insert(position, np.empty((0, 8), dtype=np.float32))
    scores.insert(position, -1.0)
    assert maxsim(query, passages).tolist() == scores


def test_nothing_to_compare() -> None:
    passage = np.ones((2, 8), dtype=np.float32)
    assert maxsim(np.empty((0, 8), dtype=np.float32), [passage]).tolist() == [-1.0]
    assert maxsim(passage, []).tolist() == []
    assert np.isfinite(maxsim(passage, [np.zeros((2, 8), dtype=np.float32)])).all()
