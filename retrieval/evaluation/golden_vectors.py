"""Golden vectors: what a model computed for a few fixed texts when a collection was made.

A fingerprint says that two vectors are of the same model. Whether another engine, release or device computes the same
with it is not guessed from version numbers: the same texts are embedded again and compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.ports import Embedder
from retrieval.types import Lane, TextKind, Vectors

MIN_COSINE = 0.99
"""Rounding of another kernel, precision or device stays above it; another pooling, prompt, tokenizer or weights do not,
also with models whose cosines are all between 0.7 and 1."""


@dataclass(frozen=True, slots=True)
class GoldenText:
    kind: TextKind
    text: str


GOLDEN_TEXTS = (
    GoldenText("query", "How often does the pump have to be serviced?"),
    GoldenText("query", "逾期付款的违约金怎么计算？"),
    GoldenText(
        "document", "The pump is serviced every 500 hours; its seal is replaced after 2,000 hours at the latest."
    ),
    GoldenText("document", "逾期付款的，每逾期一日，按未付金额的万分之五支付违约金。"),
    GoldenText("document", "Die Sitzung beginnt um 9:30 Uhr. Fragen bitte vorab an das Sekretariat (Raum 2.14)."),
    GoldenText(
        "document",
        "# Returns\n\n| Days | Refund |\n| --- | --- |\n| 14 | 100 % |\n| 30 | 50 % |\n\nGoods are sent back in their "
        "packaging. The customer bears the cost of it unless the goods were damaged when they arrived. A refund is "
        "paid to the account that the goods were paid from, within ten working days after they have been checked.",
    ),
)
"""Both kinds, since a query's prompt is the engine's business as well; scripts, figures and a table."""


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """What a collection's model computed for some texts."""

    texts: tuple[GoldenText, ...]
    """Kept with the vectors, so that later releases may choose others."""
    vectors: Vectors
    """float32, shape (texts, dimension)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Result of comparing stored golden vectors with fresh ones."""

    cosine: float
    """The lowest of all texts; 0 if one side is no vector."""

    @property
    def agrees(self) -> bool:
        return self.cosine >= MIN_COSINE


async def golden_vectors(embedder: Embedder, texts: Sequence[GoldenText] = GOLDEN_TEXTS) -> GoldenVectors:
    """Embeds the texts. Raises the errors of Embedder.embed."""
    vectors = np.empty((len(texts), embedder.fingerprint.dimension), dtype=np.float32)
    kinds: tuple[TextKind, ...] = ("query", "document")
    for kind in kinds:
        rows = [row for row, each in enumerate(texts) if each.kind == kind]
        # As in operation: queries and documents may have separate engines.
        lane = Lane.INTERACTIVE if kind == "query" else Lane.BULK
        vectors[rows] = (await embedder.embed([texts[row].text for row in rows], kind=kind, lane=lane)).vectors
    return GoldenVectors(tuple(texts), vectors)


def agreement(stored: Vectors, fresh: Vectors) -> Agreement:
    """Compares row by row. Both have the shape (texts, dimension), at least one text."""
    if not (np.isfinite(stored).all() and np.isfinite(fresh).all()):
        return Agreement(0.0)
    products = np.sum(stored * fresh, axis=1, dtype=np.float64)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(fresh, axis=1)
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return Agreement(min(float(np.min(cosines)), 1.0))
