import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from retrieval.pace import ENOUGH_TOKENS, Pace, PacedReranker, expected_tokens
from retrieval.types import Lane
from tests.support.simulated import simulate
from tests.support.stores.stages import ScriptedReranker


def measured(work: Callable[[Pace], Coroutine[Any, Any, None]]) -> float:
    """Tokens a second after it, in simulated time."""
    pace = Pace()

    async def run() -> float:
        await work(pace)
        return pace.tokens_per_second

    return simulate(run())


async def call(pace: Pace, tokens: int, seconds: float) -> None:
    with pace.measuring() as each:
        await asyncio.sleep(seconds)
        each.tokens = tokens


async def given_up(pace: Pace, tokens: int, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await call(pace, tokens, 1e9)


async def nothing(_: Pace) -> None:
    pass


def test_before_anything_was_measured_nothing_is_expected() -> None:
    assert measured(nothing) == 0
    assert Pace().seconds(1e9) == 0


def test_calls_that_compute_at_once_are_measured_together() -> None:
    async def work(pace: Pace) -> None:
        await asyncio.gather(*(call(pace, ENOUGH_TOKENS, 1.0) for _ in range(8)))

    assert measured(work) > 4 * ENOUGH_TOKENS

    async def one_by_one(pace: Pace) -> None:
        for _ in range(8):
            await call(pace, ENOUGH_TOKENS, 1.0)

    assert measured(one_by_one) == pytest.approx(ENOUGH_TOKENS)


def test_time_in_which_nothing_is_computed_does_not_count() -> None:
    async def work(pace: Pace) -> None:
        for _ in range(3):
            await call(pace, ENOUGH_TOKENS, 1.0)
            await asyncio.sleep(100)

    assert measured(work) == pytest.approx(ENOUGH_TOKENS)


def test_short_calls_tell_a_first_speed_and_no_more() -> None:
    async def short(pace: Pace) -> None:
        await call(pace, 10, 1.0)
        await call(pace, 40, 1.0)
        await call(pace, 10, 1.0)

    assert measured(short) == pytest.approx(40)

    async def and_long(pace: Pace) -> None:
        await short(pace)
        await call(pace, 10 * ENOUGH_TOKENS, 2.0)
        await short(pace)

    assert measured(and_long) == pytest.approx(5 * ENOUGH_TOKENS)


def test_a_change_of_speed_is_followed() -> None:
    async def work(pace: Pace) -> None:
        for _ in range(5):
            await call(pace, ENOUGH_TOKENS, 1.0)
        for _ in range(20):
            await call(pace, ENOUGH_TOKENS, 4.0)

    assert measured(work) == pytest.approx(ENOUGH_TOKENS / 4, rel=0.1)


def test_what_hung_and_was_given_up_says_nothing_of_the_speed() -> None:
    async def work(pace: Pace) -> None:
        await call(pace, ENOUGH_TOKENS, 1.0)
        await asyncio.gather(
            given_up(pace, ENOUGH_TOKENS, 60), *(call(pace, ENOUGH_TOKENS, 60 + number) for number in range(3))
        )
        await call(pace, ENOUGH_TOKENS, 1.0)

    assert measured(work) == pytest.approx(ENOUGH_TOKENS, rel=0.1)


def test_how_old_the_last_measurement_is() -> None:
    async def work(pace: Pace) -> None:
        await call(pace, ENOUGH_TOKENS, 1.0)
        assert not pace.is_older_than(10)
        await asyncio.sleep(11)
        assert pace.is_older_than(10)

    measured(work)


def test_a_reranker_s_time_follows_from_its_last_passages() -> None:
    async def run() -> tuple[float, float]:
        reranker = PacedReranker(ScriptedReranker(seconds_a_passage=0.1), Pace(), 512)  # type: ignore[arg-type]
        before = reranker.seconds(100)
        for _ in range(200):
            await reranker.rerank("why", ["passage"] * 20, lane=Lane.INTERACTIVE)
        return before, reranker.seconds(100)

    before, after = simulate(run())
    assert before == 0
    assert after == pytest.approx(10, rel=0.1)


def test_tokens_are_expected_by_the_length_of_texts_and_by_the_window() -> None:
    assert expected_tokens(["word " * 80, "窑炉" * 10], 512) == pytest.approx(101 + 16)
    assert expected_tokens(["word " * 8000], 512) == 512
    assert expected_tokens([], 512) == 0
