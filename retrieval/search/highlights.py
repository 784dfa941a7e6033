"""Highlights: the sentences of a hit that answer best, according to the reranker."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import structlog

from retrieval.deadline import Deadline
from retrieval.errors import EngineFailed, Unavailable
from retrieval.ports import Reranker
from retrieval.search.query import Highlight, Hit
from retrieval.types import Lane

log = structlog.get_logger()

MAX_SENTENCES = 32
"""Maximum number of sentences of a hit that are scored; the rest of a longer hit is not highlighted."""

# A full stop ends a sentence only before white space; Chinese marks need none.
_SENTENCE = re.compile(r"[^\s].*?(?:[。！？…!?]+[”’」』）)\"']*|\.(?=\s)|(?=\n\s*\n)|\Z)", re.DOTALL)


async def with_highlights(
    reranker: Reranker, text: str, hits: Sequence[Hit], count: int, instruction: str | None, deadline: Deadline
) -> list[Hit]:
    """Returns each hit with its `count` best sentences, best first; without them if the reranker is away or late."""
    sentences = [list(_sentences(hit)) for hit in hits]
    every = [sentence for each in sentences for sentence in each]
    try:
        ranking = reranker.rerank(
            text, [sentence.text for sentence in every], lane=Lane.INTERACTIVE, instruction=instruction
        )
        scores = await deadline.run(ranking, "reranker")
    except (Unavailable, EngineFailed) as error:
        log.warning("no highlights", code=error.code, reason=error.message)
        return list(hits)
    scored = iter([replace(sentence, score=score) for sentence, score in zip(every, scores.scores, strict=True)])
    highlighted = []
    for hit, own in zip(hits, sentences, strict=True):
        best = sorted((next(scored) for _ in own), key=lambda sentence: -sentence.score)
        highlighted.append(replace(hit, highlights=tuple(best[:count])))
    return highlighted


def _sentences(hit: Hit) -> Iterator[Highlight]:
    chunk = hit.candidate.chunk
    for number, match in enumerate(_SENTENCE.finditer(chunk.text)):
        if number == MAX_SENTENCES:
            return
        yield Highlight(match[0], chunk.start + match.start(), chunk.start + match.end(), score=0.0)
