"""Allowances that fill up within a minute, in simulated time."""

import pytest

from app.access.caller import Caller
from app.access.limits import COUNTED, RateLimits
from app.errors import LimitReached
from ingestion.access.keys import KeyLimits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def caller(name: str = "key_1", **limits: int) -> Caller:
    return Caller(name, limits=KeyLimits(**limits))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(rates: RateLimits, who: Caller, tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            rates.take(who, "requests")
        except LimitReached:
            continue
        done += 1
    return done


def test_a_minute_s_allowance_and_no_more(clock: Clock) -> None:
    rates, who = RateLimits(clock), caller(requests_per_minute=60)
    assert taken(rates, who, 100) == 60
    assert rates.headers(who) == {"RateLimit-Limit": "60", "RateLimit-Remaining": "0", "RateLimit-Reset": "60"}
    with pytest.raises(LimitReached, match=r"may use 60 requests a minute; 0 are left\. Try again in 1 s") as told:
        rates.take(who, "requests")
    assert told.value.detail["retry_after_s"] == 1
    clock.now += 10
    assert taken(rates, who, 100) == 10
    clock.now += 3600
    assert taken(rates, who, 100) == 60


def test_keys_and_units_are_counted_apart(clock: Clock) -> None:
    rates = RateLimits(clock)
    first, second = caller(requests_per_minute=1, texts_per_minute=5), caller("key_2", requests_per_minute=1)
    rates.take(first, "requests")
    rates.take(second, "requests")
    rates.take(first, "texts", 5)
    for unit, count in (("requests", 1), ("texts", 1)):
        with pytest.raises(LimitReached):
            rates.take(first, unit, count)  # type: ignore[arg-type]


def test_a_request_of_more_than_a_minute_s_is_let_in_once_and_paid_for(clock: Clock) -> None:
    rates, who = RateLimits(clock), caller(candidates_per_minute=100)
    rates.take(who, "candidates", 250)
    with pytest.raises(LimitReached) as told:
        rates.take(who, "candidates", 1)
    assert told.value.detail["retry_after_s"] == 91  # 150 too many, and one
    clock.now += 91
    rates.take(who, "candidates", 1)
    with pytest.raises(LimitReached):
        rates.take(who, "candidates", 250)


def test_without_a_limit_nothing_is_counted(clock: Clock) -> None:
    rates = RateLimits(clock)
    for _ in range(1000):
        rates.take(caller(), "requests")
        rates.take(Caller(None, limits=KeyLimits(requests_per_minute=1)), "requests")
    assert rates.headers(caller()) == {}
    assert not rates._allowances


def test_the_number_of_keys_that_are_counted_is_bounded(clock: Clock) -> None:
    rates = RateLimits(clock)
    for number in range(COUNTED * 3 + 10):
        rates.take(caller(f"key_{number}", requests_per_minute=1), "requests")
    assert len(rates._allowances) == COUNTED * 3
