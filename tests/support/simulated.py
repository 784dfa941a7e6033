"""An event loop whose time passes only when everybody waits, and a device that computes on it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_QUANTUM = 0.001
"""Seconds of computing between two turns."""


class Deadlock(AssertionError):
    """Nobody can go on, and no time is waited for."""


class _Selector(selectors.SelectSelector):
    """Sleeps by moving the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self.now += max(timeout, 0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._selector_clock = _Selector()
        super().__init__(self._selector_clock)

    def time(self) -> float:
        return self._selector_clock.now


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` in simulated time, from 0 on. Raises Deadlock."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)


class SimulatedDevice:
    """Computes what it is given side by side, each at its part of the speed, as processes share a GPU."""

    def __init__(self, *, tokens_per_second: float) -> None:
        self.tokens_per_second = tokens_per_second
        self._turn = asyncio.Lock()
        self.tokens = 0
        """Computed so far."""

    async def compute(self, tokens: int) -> None:
        left = tokens / self.tokens_per_second
        while left > 0:
            async with self._turn:
                await asyncio.sleep(min(left, _QUANTUM))
            left -= _QUANTUM
        self.tokens += tokens
