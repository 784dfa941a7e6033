"""The text adapters against a real Infinity: the same numbers as elsewhere, and nothing left for it to cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.engines.http.dialects.infinity import INFINITY_EMBED
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.errors import EngineFailed
from retrieval.evaluation.selftest import run_selftest
from retrieval.text.prompts import window_of
from retrieval.types import Lane, TextKind
from tests.support.models.infinity import API_KEY

TEXTS = ["The capital of France is Paris.", "  a cat\n\nsleeps  ", "", "def f(x): return {'a': x}", "word " * 900]
QUERY = "what is the capital of France?"


@pytest.mark.parametrize("kind", ["document", "query"])
async def test_vectors_are_those_of_the_engine_in_this_process(
    infinity_embedder: HttpTextEmbedder, minilm_embedder: VllmEmbedder, kind: TextKind
) -> None:
    here = await minilm_embedder.embed(TEXTS, kind=kind, lane=Lane.BULK)
    there = await infinity_embedder.embed(TEXTS, kind=kind, lane=Lane.BULK)
    assert (here.vectors * there.vectors).sum(axis=1).min() > 0.999
    assert (there.tokens, there.truncated_tokens) == (here.tokens, here.truncated_tokens)
    assert here.truncated_tokens[4] > 600


async def test_the_window_is_the_model_s_own(infinity_embedder: HttpTextEmbedder) -> None:
    """Whatever the settings say: beyond it Infinity would cut."""
    assert infinity_embedder.max_tokens == window_of(256) - 2


async def test_reduced_vectors_are_the_first_components_normalised_again(
    infinity_url: str, infinity_embedder: HttpTextEmbedder, minilm_folder: Path
) -> None:
    server = HttpServerOptions(url=infinity_url, model="minilm", api_key=API_KEY)
    reduced = HttpTextEmbedder(minilm_folder, server, INFINITY_EMBED, dimension=128)
    await reduced.start()
    part = await reduced.embed(TEXTS, kind="document", lane=Lane.BULK)
    await reduced.close()
    whole = (await infinity_embedder.embed(TEXTS, kind="document", lane=Lane.BULK)).vectors[:, :128]
    np.testing.assert_allclose(part.vectors, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-5)


async def test_scores_are_those_of_transformers(
    infinity_reranker: HttpPairReranker, tiny_cross_encoder_folder: Path
) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_cross_encoder_folder)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_cross_encoder_folder).eval()
    passages = [text for text in TEXTS if text]
    pairs = tokenizer(
        [QUERY] * len(passages), passages, return_tensors="pt", padding=True, truncation="only_second", max_length=511
    )
    with torch.inference_mode():
        expected = torch.sigmoid(model(**pairs).logits.flatten()).tolist()
    found = await infinity_reranker.rerank(QUERY, passages, lane=Lane.INTERACTIVE)
    assert found.scores == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.01  # the passages do differ
    assert found.tokens == int(pairs["attention_mask"].sum())
    assert found.truncated_tokens[:-1] == (0,) * (len(passages) - 1)
    assert found.truncated_tokens[-1] > 300


async def test_the_self_test_passes(infinity_embedder: HttpTextEmbedder, infinity_reranker: HttpPairReranker) -> None:
    report = await run_selftest(infinity_embedder, infinity_reranker, check_margin=False, languages=["en"])
    assert report.passed, [check for check in report.checks if not check.passed]


async def test_what_the_server_refuses_is_told_in_its_words(infinity_url: str, minilm_folder: Path) -> None:
    server = HttpServerOptions(url=infinity_url, model="another", api_key=API_KEY)
    for change, words in ((server, "400.*another"), (replace(server, api_key=None), "401.*Unauthorized")):
        embedder = HttpTextEmbedder(minilm_folder, change, INFINITY_EMBED)
        await embedder.start()
        with pytest.raises(EngineFailed, match=words):
            await embedder.embed(["text"], kind="document", lane=Lane.BULK)
        await embedder.close()
