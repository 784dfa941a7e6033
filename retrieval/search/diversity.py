"""The order of hits for readers: one of each document, and not ten times the same. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from retrieval.search.fusion import scaled
from retrieval.search.query import Hit, Member
from retrieval.types import ChunkId, DocumentId, Vector

DIVERSE = "diverse"


def by_document(hits: Sequence[Hit]) -> list[Hit]:
    """The first hit of each document, with the document's others named in it."""
    groups: dict[DocumentId, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.candidate.chunk.document_id, []).append(hit)
    return [
        replace(first, others=tuple(Member(hit.candidate.chunk.id, hit.score) for hit in others))
        for first, *others in groups.values()
    ]


def diversified(hits: Sequence[Hit], vectors: Mapping[ChunkId, Vector], diversity: float, limit: int) -> list[Hit]:
    """At most `limit` of the hits that have a score, by maximal marginal relevance: each is the one with the most of
    (1 - diversity) x its score scaled to [0, 1] - diversity x its highest cosine with those before it, 0 at
    least, so that scores never rise down the order.

    Source: Carbonell and Goldstein, SIGIR 1998. A hit without a vector is like no other; those
    without a score stay behind.
    """
    scored = [hit for hit in hits if hit.score is not None]
    relevance = (1 - diversity) * np.array(scaled([hit.score for hit in scored if hit.score is not None]))
    zero = np.zeros_like(next(iter(vectors.values()), np.zeros(1, dtype=np.float32)))
    matrix = np.array([vectors.get(hit.candidate.chunk.id, zero) for hit in scored])
    likeness = np.zeros(len(scored))
    left = np.ones(len(scored), dtype=bool)
    chosen: list[Hit] = []
    while len(chosen) < min(limit, len(scored)):
        worth = np.where(left, relevance - diversity * likeness, -np.inf)
        best = int(np.argmax(worth))
        left[best] = False
        likeness = np.maximum(likeness, matrix @ matrix[best])
        hit, value = scored[best], float(worth[best])
        rank = len(chosen) + 1
        chosen.append(
            replace(hit, score=value, scores={**hit.scores, DIVERSE: value}, ranks={**hit.ranks, DIVERSE: rank})
        )
    return [*chosen, *(hit for hit in hits if hit.score is None)]
