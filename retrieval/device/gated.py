"""Runs an engine behind the gate: interactive calls start at once, bulk calls run in slices when the gate
admits them.
"""

import asyncio
from collections.abc import Coroutine, Sequence, Sized
from functools import partial
from typing import Any, Protocol, TypeVar

from retrieval.device.gate import Gate, Turn
from retrieval.types import Lane, Vector

InputT = TypeVar("InputT", bound=Sized, contravariant=True)


class Encoder(Protocol[InputT]):
    def encode(
        self, inputs: Sequence[InputT], /, *, lane: Lane, dimensions: int | None = None
    ) -> Coroutine[Any, Any, Sequence[Vector]]: ...


async def encode_gated(
    gate: Gate | None,
    engine: Encoder[InputT],
    inputs: Sequence[InputT],
    *,
    lane: Lane,
    dimensions: int | None = None,
) -> Sequence[Vector]:
    """Encodes as `engine.encode` does, with the same errors, in slices that the gate admits. A failed slice cancels the
    call's other slices. The length of an input is its number of tokens. Without a gate, all inputs are encoded at once.
    """
    if gate is None:
        return await engine.encode(inputs, lane=lane, dimensions=dimensions)
    if lane is Lane.INTERACTIVE:
        with gate.interactive():
            return await engine.encode(inputs, lane=lane, dimensions=dimensions)

    # In a task of its own, which ends with it: see gather_or_cancel on what a group that fails leaves behind.
    return await asyncio.create_task(_in_slices(gate, engine, inputs, lane, dimensions))


async def _in_slices(
    gate: Gate, engine: Encoder[InputT], inputs: Sequence[InputT], lane: Lane, dimensions: int | None
) -> Sequence[Vector]:
    def end(turn: Turn, computed: asyncio.Task[Sequence[Vector]]) -> None:
        gate.end(turn, measured=not computed.cancelled() and computed.exception() is None)

    lengths = [len(each) for each in inputs]
    slices: list[asyncio.Task[Sequence[Vector]]] = []
    begun = 0
    try:
        async with asyncio.TaskGroup() as group:
            while begun < len(inputs):
                turn = await gate.turn(lengths[begun:])
                due = inputs[begun : begun + turn.prompts]
                computing = group.create_task(engine.encode(due, lane=lane, dimensions=dimensions))
                # Not in the task itself: one that is cancelled before it begins would never end its turn.
                computing.add_done_callback(partial(end, turn))
                slices.append(computing)
                begun += turn.prompts
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [output for each in slices for output in each.result()]
