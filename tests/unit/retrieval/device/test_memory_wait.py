from collections.abc import Callable, Iterator

from retrieval.device.memory_wait import wait_for_memory
from retrieval.device.planner import DeviceMemory


def readings(*used: int | None) -> Callable[[], DeviceMemory | None]:
    """One after the other, of a device of 100 bytes; None for one that cannot be had."""
    remaining: Iterator[int | None] = iter(used)

    def read() -> DeviceMemory | None:
        found = next(remaining)
        return None if found is None else DeviceMemory(100, found)

    return read


class Pauses:
    def __init__(self, *, give_up_after: int = 1000) -> None:
        self.count = 0
        self._give_up_after = give_up_after

    def __call__(self) -> bool:
        self.count += 1
        return self.count >= self._give_up_after


def test_no_pause_where_enough_is_free() -> None:
    pauses = Pauses()
    assert wait_for_memory(0.4, readings(60), pauses)
    assert pauses.count == 0


def test_waits_until_the_remains_are_gone() -> None:
    pauses = Pauses()
    assert wait_for_memory(0.4, readings(90, 90, 61, 60), pauses)
    assert pauses.count == 3


def test_gives_up_after_so_many_attempts() -> None:
    pauses = Pauses()
    assert not wait_for_memory(0.4, readings(90, 90, 90), pauses, attempts=3)
    assert pauses.count == 2


def test_a_start_that_is_cancelled_waits_no_longer() -> None:
    assert not wait_for_memory(0.4, readings(90, 90), Pauses(give_up_after=2))


def test_what_cannot_be_read_is_not_waited_for() -> None:
    assert wait_for_memory(0.4, readings(None), Pauses())
    assert wait_for_memory(0.4, readings(90, None), Pauses())
