"""Serialises calls to a server that takes one at a time."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any


class Turns:
    """The next turn begins when every call of the previous one has ended, including calls whose caller no
    longer waits.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._calls: set[Future[Any]] = set()

    def began(self, call: "Future[Any]") -> None:
        """Adds a call to the present turn."""
        self._calls.add(call)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        await self._lock.acquire()
        try:
            yield
        finally:
            calls, self._calls = {call for call in self._calls if not call.done()}, set()
            if calls:
                self._release_after(calls)
            else:
                self._lock.release()

    def _release_after(self, calls: "set[Future[Any]]") -> None:
        loop, left = asyncio.get_running_loop(), len(calls)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._lock.release()

        def call_ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: no call waits for a turn
                loop.call_soon_threadsafe(ended)

        for call in calls:
            call.add_done_callback(call_ended)
