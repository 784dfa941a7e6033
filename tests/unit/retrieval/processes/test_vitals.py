from collections.abc import Callable

import pytest

from retrieval.processes.vitals import Vitals


def ticks_until_hung(vitals: Vitals, between: Callable[[int], None] = lambda tick: None, most: int = 50) -> int | None:
    for tick in range(1, most + 1):
        if vitals.tick():
            return tick
        between(tick)
    return None


def test_silence_has_a_bound() -> None:
    assert ticks_until_hung(Vitals(10)) == 11
    vitals = Vitals(10)
    assert ticks_until_hung(vitals, lambda tick: vitals.note_reply() if tick == 7 else None) == 18


def test_what_works_may_take_its_time_and_what_idles_for_ever() -> None:
    at_work, idle = Vitals(2, 20), Vitals(2, 20)
    assert ticks_until_hung(at_work, lambda tick: at_work.reported(tick // 15, working=True)) is None
    assert ticks_until_hung(idle, lambda tick: idle.reported(0, working=False)) is None


def test_work_without_progress_has_a_bound() -> None:
    vitals = Vitals(2, 20)
    assert ticks_until_hung(vitals, lambda tick: vitals.reported(0, working=True)) == 22


def test_a_rest_ends_a_stall() -> None:
    vitals = Vitals(2, 20)
    assert ticks_until_hung(vitals, lambda tick: vitals.reported(0, working=tick != 15)) == 37


@pytest.mark.parametrize(("stalled", "said"), [(None, "no sign of life for 3 s"), (1, "none of its work for 1 s")])
def test_the_reason_says_what_was_missing(stalled: int | None, said: str) -> None:
    vitals = Vitals(3, stalled)
    vitals.reported(0, working=True)
    reason = next(reason for reason in iter(vitals.tick, "") if reason)
    assert said in reason
