"""Turns on a server that takes one call at a time."""

import asyncio
from concurrent.futures import Future

import pytest

from retrieval.stores.milvus.turns import Turns


async def granted(turns: Turns) -> None:
    async with turns.turn():
        pass


async def test_a_turn_ends_with_its_block_where_its_calls_have_ended() -> None:
    turns = Turns()
    async with turns.turn():
        call: Future[None] = Future()
        turns.began(call)
        call.set_result(None)
    await granted(turns)


@pytest.mark.parametrize("outcome", ["result", "error"])
async def test_a_call_that_nobody_waits_for_keeps_the_turn_until_it_has_ended(outcome: str) -> None:
    turns = Turns()
    calls: list[Future[None]] = [Future(), Future()]
    async with turns.turn():
        for call in calls:
            turns.began(call)
    following = asyncio.create_task(granted(turns))
    for call in calls:
        await asyncio.sleep(0)
        assert not following.done()
        if outcome == "result":
            call.set_result(None)
        else:
            call.set_exception(RuntimeError())
    await following
    await granted(turns)


async def test_a_caller_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    turns = Turns()
    async with turns.turn():
        waiting = asyncio.create_task(granted(turns))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await granted(turns)
