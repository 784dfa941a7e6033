"""Golden vectors: what counts as the same, and what does not."""

from collections.abc import Sequence

import numpy as np
import pytest

from retrieval.evaluation.golden_vectors import GOLDEN_TEXTS, GoldenText, agreement, golden_vectors
from retrieval.types import Embeddings, Lane, TextKind, Vectors
from tests.support.models.fake_models import FakeEmbedder


class Seen(FakeEmbedder):
    """Remembers what it embedded."""

    def __init__(self) -> None:
        super().__init__(dimension=64)
        self.calls: list[tuple[TextKind, Lane, list[str]]] = []

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        self.calls.append((kind, lane, list(texts)))
        return await super().embed(texts, kind=kind, lane=lane, instruction=instruction)


@pytest.fixture
async def embedder() -> Seen:
    embedder = Seen()
    await embedder.start()
    return embedder


async def vectors(embedder: FakeEmbedder) -> Vectors:
    return (await golden_vectors(embedder)).vectors


async def test_each_text_is_embedded_as_what_it_is(embedder: Seen) -> None:
    texts = (GoldenText("document", "a pump"), GoldenText("query", "a loom"), GoldenText("document", "a kiln"))
    found = await golden_vectors(embedder, texts)
    assert embedder.calls == [
        ("query", Lane.INTERACTIVE, ["a loom"]),
        ("document", Lane.BULK, ["a pump", "a kiln"]),
    ]
    assert found.texts == texts
    alone = await embedder.embed(["a pump", "a loom", "a kiln"], kind="query", lane=Lane.BULK)
    np.testing.assert_array_equal(found.vectors, alone.vectors)


async def test_equal_up_to_rounding(embedder: Seen) -> None:
    made = await vectors(embedder)
    assert made.shape == (len(GOLDEN_TEXTS), 64)
    assert agreement(made, made).cosine == pytest.approx(1, abs=1e-6)
    rounded = made.astype(np.float16).astype(np.float32)
    noise = np.random.default_rng(7).normal(0, 0.005, made.shape).astype(np.float32)
    assert agreement(made, rounded + noise).agrees
    assert agreement(made, rounded * 3).agrees


async def test_one_text_that_differs_is_enough(embedder: Seen) -> None:
    made = await vectors(embedder)
    other = made.copy()
    other[-1] = made[0]
    found = agreement(made, other)
    assert not found.agrees
    assert found.cosine == pytest.approx(float(made[-1] @ made[0]), abs=1e-5)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
async def test_no_vector_agrees_with_none(embedder: Seen, value: float) -> None:
    made = await vectors(embedder)
    lost = made.copy()
    lost[1] = value
    assert agreement(made, lost).cosine == 0
    assert not agreement(lost, lost).agrees
