"""Runs an engine behind the gate: interactive calls start at once, bulk calls run in slices when the gate
admits them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence, Sized
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

    def encode(_: Turn, due: Sequence[InputT]) -> Coroutine[Any, Any, Sequence[Vector]]:
        return engine.encode(due, lane=lane, dimensions=dimensions)

    return await encode_in_slices(inputs, gate.turn, encode)


async def encode_in_slices(
    inputs: Sequence[InputT],
    take_turn: Callable[[Sequence[int]], Awaitable[Turn]],
    encode: Callable[[Turn, Sequence[InputT]], Coroutine[Any, Any, Sequence[Vector]]],
) -> Sequence[Vector]:
    """`take_turn` is given the lengths of the inputs that are left, `encode` those that its turn is for; the turn ends
    with it. One output per input, in order. A slice that fails cancels the others, and its error is raised."""
    # In a separate task: gather_or_cancel explains what a failed group does to its caller's task.
    return await asyncio.create_task(_in_slices(inputs, take_turn, encode))


async def _in_slices(
    inputs: Sequence[InputT],
    take_turn: Callable[[Sequence[int]], Awaitable[Turn]],
    encode: Callable[[Turn, Sequence[InputT]], Coroutine[Any, Any, Sequence[Vector]]],
) -> Sequence[Vector]:
    def end(turn: Turn, computed: asyncio.Task[Sequence[Vector]]) -> None:
        turn.end(measured=not computed.cancelled() and computed.exception() is None)

    lengths = [len(each) for each in inputs]
    slices: list[asyncio.Task[Sequence[Vector]]] = []
    begun = 0
    try:
        async with asyncio.TaskGroup() as group:
            while begun < len(inputs):
                turn = await take_turn(lengths[begun:])
                computing = group.create_task(encode(turn, inputs[begun : begun + turn.prompts]))
                # Not in the task itself: if it is cancelled before it begins, it would never end its turn.
                computing.add_done_callback(partial(end, turn))
                slices.append(computing)
                begun += turn.prompts
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [output for each in slices for output in each.result()]
