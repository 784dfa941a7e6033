"""Orders hits for readers: groups them by document and lowers near-duplicates. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from retrieval.search.fusion import scaled
from retrieval.search.query import Hit, Member
from retrieval.types import ChunkId, DocumentId, Vector

DIVERSE = "diverse"


def by_document(hits: Sequence[Hit]) -> list[Hit]:
    """Returns the first hit of each document, which lists the document's other hits."""
    groups: dict[DocumentId, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.candidate.chunk.document_id, []).append(hit)
    return [
        replace(first, others=tuple(Member(hit.candidate.chunk.id, hit.score) for hit in others))
        for first, *others in groups.values()
    ]


def diversified(hits: Sequence[Hit], vectors: Mapping[ChunkId, Vector], diversity: float, limit: int) -> list[Hit]:
    """Reorders hits by maximal marginal relevance: first at most `limit` of the hits that have a score. Each is the hit
    with the highest (1 - diversity) x its score scaled to [0, 1] - diversity x its highest cosine with those before it;
    the cosine is at least 0, so that scores never rise down the order. Hits without a score follow.

    Source: Carbonell and Goldstein, SIGIR 1998. A hit without a vector counts as unlike all others.
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
