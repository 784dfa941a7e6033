"""Embeds texts for all HTTP interfaces of the node."""

from collections.abc import Sequence

from app.access.view import NodeView
from retrieval.deadline import Deadline
from retrieval.pace import expected_tokens
from retrieval.ports import Embedder
from retrieval.types import Embeddings, Lane, TextKind

BULK_DEADLINES = 5
"""Bulk work waits for its turns behind searches, and may take so many times a search's deadline."""


def seconds_to_embed(node: NodeView, embedder: Embedder, inputs: Sequence[str] | Sequence[Sequence[int]]) -> float:
    """Returns the expected seconds for texts, or token ids, without other work."""
    window = embedder.max_tokens
    texts = [each for each in inputs if isinstance(each, str)]
    ids = sum(min(window, len(each)) for each in inputs if not isinstance(each, str))
    return node.embed_pace.seconds(expected_tokens(texts, window) + ids)


def admits_any_size(node: NodeView, lane: Lane) -> bool:
    """Returns whether an idle node accepts a request of any size: bulk work has to be done, however long it takes, and
    an old measurement is no reason to refuse.
    """
    return lane is Lane.BULK or node.embed_pace.is_older_than(node.search_deadline_seconds)


async def embed(
    node: NodeView, embedder: Embedder, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None
) -> Embeddings:
    """Embeds texts that were admitted. Raises BudgetExceeded, and the embedder's errors."""
    times = BULK_DEADLINES if lane is Lane.BULK else 1
    deadline = Deadline.after(times * node.search_deadline_seconds, "deadline")
    with node.embed_pace.measuring() as call:
        work = embedder.embed(texts, kind=kind, lane=lane, instruction=instruction)
        found = await deadline.run(work, "embedder")
        call.tokens = sum(found.tokens)
    return found
