import asyncio

import pytest

from retrieval.device.gate import Gate
from retrieval.device.gated import encode_gated
from retrieval.errors import EngineFailed
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, TokenIds, Vector


async def later(value: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return value


async def failing(seconds: float = 0.0) -> int:
    await asyncio.sleep(seconds)
    raise EngineFailed("broken")


class Broken:
    async def encode(self, inputs: "list[TokenIds]", /, *, lane: Lane, dimensions: int | None = None) -> "list[Vector]":
        await asyncio.sleep(0)
        raise EngineFailed("broken")


async def times_out() -> bool:
    """Whether a timeout is a timeout in this task, and nothing worse."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling() == 0


async def test_results_are_in_order() -> None:
    assert await gather_or_cancel([later(1, 0.02), later(2, 0.0)]) == [1, 2]
    assert await gather_or_cancel([]) == []


async def test_a_failure_ends_the_others_first() -> None:
    ended = asyncio.Event()

    async def other() -> int:
        try:
            return await later(1, 60)
        finally:
            await asyncio.sleep(0.01)
            ended.set()

    with pytest.raises(EngineFailed):
        await gather_or_cancel([other(), failing(0.01)])
    assert ended.is_set()


@pytest.mark.parametrize("others", [[], [0.0], [60.0]])
async def test_after_a_failure_the_caller_goes_on(others: list[float]) -> None:
    with pytest.raises(EngineFailed):
        await gather_or_cancel([failing(), *(later(1, seconds) for seconds in others)])
    assert await times_out()


async def test_after_a_slice_that_failed_the_caller_goes_on() -> None:
    with pytest.raises(EngineFailed):
        await encode_gated(Gate(), Broken(), [[1], [2]], lane=Lane.BULK)
    assert await times_out()


async def test_cancelled_it_cancels_them() -> None:
    cancelled = []

    async def one() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    both = asyncio.create_task(gather_or_cancel([one(), one()]))
    await asyncio.sleep(0.01)
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    assert len(cancelled) == 2
