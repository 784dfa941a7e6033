"""How many candidates are reranked for a search that states no number: as many as fit a time, by the speed that was
measured at the start of the node.

The speed is measured once, on an idle node, so that the same query is reranked in the same way later, whatever else
runs.
"""

import asyncio
from collections.abc import Sequence
from secrets import token_hex

from retrieval.ports import Reranker
from retrieval.search.query import Hit
from retrieval.types import Lane

_PASSAGES = (1, 2, 4, 8, 8)
"""Of each call. The fastest one counts: small calls are slower, and another program may have delayed one."""
_LONG_SECONDS = 0.5
"""After a call that takes longer there is no other: a large model on a CPU would delay the start by a minute."""
_SENTENCE = "The keeper wrote down the weather, the ships that passed and the oil that the lamp had burnt. "
_SENTENCES = 12
"""Of a passage, about 250 tokens: eight fill a step of an engine on a CPU."""


async def tokens_within(reranker: Reranker, seconds: float) -> int:
    """Returns how many tokens `reranker` reads in this time. Raises the errors of `Reranker.rerank`."""
    clock = asyncio.get_running_loop()
    speed = 0.0
    for count in _PASSAGES:
        # Each passage begins anew, so no cache holds it.
        passages = [f"{token_hex(4)} {_SENTENCE * _SENTENCES}" for _ in range(count)]
        began = clock.time()
        scores = await reranker.rerank("Who wrote down the weather?", passages, lane=Lane.INTERACTIVE)
        took = clock.time() - began
        speed = max(speed, scores.tokens / max(took, 1e-6))
        if took > _LONG_SECONDS:
            break
    return int(seconds * speed)


def fitting(hits: Sequence[Hit], tokens: int, least: int, *, by_document: bool) -> int:
    """Returns how many of the first `hits` have at most so many tokens together, and at least `least`, or the hits of
    `least` documents.
    """
    total = 0
    there: set[str] = set()
    for number, hit in enumerate(hits):
        chunk = hit.candidate.chunk
        total += chunk.tokens
        if total > tokens and len(there) >= least:
            return number
        there.add(chunk.document_id if by_document else chunk.id)
    return len(hits)
