"""An engine behind the gate: interactive calls go as they come, bulk calls in slices when it is their turn."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Protocol

from retrieval.gate import Gate, Turn
from retrieval.types import Lane, TokenIds, Vector


class Encoder(Protocol):
    def encode(
        self, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None
    ) -> Coroutine[None, None, Sequence[Vector]]: ...


async def encode_gated(
    gate: Gate, engine: Encoder, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None
) -> Sequence[Vector]:
    """As `engine.encode`, its errors included; one slice that fails cancels the call's others."""
    if lane is Lane.INTERACTIVE:
        with gate.interactive():
            return await engine.encode(token_ids, lane=lane, dimensions=dimensions)

    def end(turn: Turn, computed: asyncio.Task[Sequence[Vector]]) -> None:
        gate.end(turn, measured=not computed.cancelled() and computed.exception() is None)

    lengths = [len(ids) for ids in token_ids]
    slices: list[asyncio.Task[Sequence[Vector]]] = []
    begun = 0
    try:
        async with asyncio.TaskGroup() as group:
            while begun < len(token_ids):
                turn = await gate.turn(lengths[begun:])
                prompts = token_ids[begun : begun + turn.prompts]
                computing = group.create_task(engine.encode(prompts, lane=lane, dimensions=dimensions))
                # Not in the task itself: one that is cancelled before it begins would never end its turn.
                computing.add_done_callback(partial(end, turn))
                slices.append(computing)
                begun += turn.prompts
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [output for each in slices for output in each.result()]
