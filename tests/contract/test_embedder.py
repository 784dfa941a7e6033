"""What every Embedder does. A new implementation adds the name of a fixture that yields it, started."""

import asyncio
from contextlib import suppress

import numpy as np
import pytest

from retrieval.errors import InvalidText
from retrieval.ports import Embedder
from retrieval.types import Lane

IMPLEMENTATIONS = [
    "fake_embedder",
    "tiny_embedder",
    "reduced_embedder",
    "minilm_embedder",
    "http_embedder",
    "sglang_embedder",
    "tei_embedder",
    "infinity_embedder",
    "node_embedder",
]
TEXTS = ["The capital of France is Paris.", "北京是中国的首都。", "def f(x): return x ** 2", "A cat sleeps. 🐈"]


@pytest.fixture(params=IMPLEMENTATIONS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    embedder: Embedder = request.getfixturevalue(request.param)
    return embedder


def text_of(embedder: Embedder, tokens: int) -> str:
    text = "a" + " a" * (tokens - 1)
    assert len(embedder.tokenizer.encode(text, add_special_tokens=False).ids) == tokens
    return text


async def test_vectors_are_finite_float32_of_unit_length(embedder: Embedder) -> None:
    result = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    assert result.vectors.shape == (len(TEXTS), embedder.fingerprint.dimension)
    assert result.vectors.dtype == np.float32
    assert np.isfinite(result.vectors).all()
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-3)


async def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder) -> None:
    together = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    apart = [await embedder.embed([text], kind="document", lane=Lane.BULK) for text in TEXTS]
    similarity = together.vectors @ np.concatenate([one.vectors for one in apart]).T
    assert (np.diag(similarity) > 0.999).all()
    assert (similarity.argmax(axis=1) == np.arange(len(TEXTS))).all()


async def test_texts_are_counted_without_special_tokens(embedder: Embedder) -> None:
    counted = await asyncio.to_thread(embedder.count, [*TEXTS, ""])
    assert list(counted) == [len(embedder.tokenizer.encode(text, add_special_tokens=False)) for text in [*TEXTS, ""]]
    result = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    assert len({seen - tokens for seen, tokens in zip(result.tokens, counted, strict=False)}) == 1
    with pytest.raises(InvalidText):
        embedder.count(["\ud800"])


async def test_calls_at_the_same_time_get_their_own_answers(embedder: Embedder) -> None:
    expected = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    results = await asyncio.gather(
        *(
            embedder.embed([text], kind="document", lane=lane)
            for text in TEXTS
            for lane in (Lane.INTERACTIVE, Lane.BULK)
        )
    )
    for position, result in enumerate(results):
        assert result.vectors[0] @ expected.vectors[position // 2] > 0.999


async def test_nothing_embeds_to_nothing(embedder: Embedder) -> None:
    result = await embedder.embed([], kind="document", lane=Lane.BULK)
    assert result.vectors.shape == (0, embedder.fingerprint.dimension)
    assert (result.tokens, result.truncated_tokens) == ((), ())


@pytest.mark.parametrize("kind", ["query", "document"])
async def test_blank_texts_are_embedded(embedder: Embedder, kind: str) -> None:
    result = await embedder.embed(["", "  \n", "\t"], kind="query" if kind == "query" else "document", lane=Lane.BULK)
    assert np.isfinite(result.vectors).all()
    assert len(result.vectors) == 3


async def test_longest_text_is_not_cut_and_longer_ones_are_cut_and_reported(embedder: Embedder) -> None:
    longest = text_of(embedder, embedder.max_tokens)
    result = await embedder.embed(
        ["a", longest, longest + " a" * 7, longest + " dog"], kind="document", lane=Lane.INTERACTIVE
    )
    special = result.tokens[0] - 1
    assert result.tokens[1:] == (embedder.max_tokens + special,) * 3
    assert result.truncated_tokens == (0, 0, 7, 1)
    assert result.vectors[1] @ result.vectors[2] > 0.999


async def test_long_queries_are_cut_and_reported(embedder: Embedder) -> None:
    result = await embedder.embed([text_of(embedder, embedder.max_tokens + 100)], kind="query", lane=Lane.INTERACTIVE)
    assert result.truncated_tokens[0] >= 100
    assert np.isfinite(result.vectors).all()


async def test_the_fingerprint_says_what_made_the_vectors(embedder: Embedder) -> None:
    result = await embedder.embed(["a"], kind="document", lane=Lane.BULK)
    assert result.fingerprint == embedder.fingerprint
    assert embedder.fingerprint.normalized
    assert "/" not in embedder.fingerprint.revision
    assert len(embedder.fingerprint.revision) == 12


async def test_the_tokenizer_neither_cuts_nor_pads(embedder: Embedder) -> None:
    short, long = embedder.tokenizer.encode_batch(["a", "a " * (embedder.max_tokens + 500)])
    assert len(short.ids) < 5
    assert len(long.ids) > embedder.max_tokens + 400


async def test_lone_surrogates_are_refused(embedder: Embedder) -> None:
    with pytest.raises(InvalidText):
        await embedder.embed(["fine", "\ud800"], kind="document", lane=Lane.BULK)


async def test_cancelled_calls_leave_the_embedder_serving(embedder: Embedder) -> None:
    call = asyncio.create_task(embedder.embed(TEXTS * 50, kind="document", lane=Lane.BULK))
    await asyncio.sleep(0.01)
    call.cancel()
    with suppress(asyncio.CancelledError):  # a quick one may have finished
        await call
    assert len((await embedder.embed(["a"], kind="query", lane=Lane.INTERACTIVE)).vectors) == 1


async def test_it_is_healthy(embedder: Embedder) -> None:
    assert embedder.failure is None
