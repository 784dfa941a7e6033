"""Processes that die at a chosen call: ports which let their caller go no further."""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

Moment = Literal["before", "after"]
"""Of a call's effect."""
_END = object()


class Crash(BaseException):
    """The process is gone. No handler of errors sees it, and nothing that is done on the way out reaches a port."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    step: str
    """Port and method, as `store.upsert`."""
    occurrence: int
    """Which call of it, from 1."""
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} {self.step} number {self.occurrence}"


class Life:
    """The life of one process: counts its calls of ports, and ends it at `point` if it comes there.

    Its clock is `ahead` of the others', so that leases of processes before it have run out.
    """

    def __init__(self, point: CrashPoint | None = None, *, ahead: timedelta = timedelta(0)) -> None:
        self.calls: Counter[str] = Counter()
        self.over = asyncio.Event()
        self.idle = asyncio.Event()
        """The queue was found empty."""
        self.met = False
        """Whether it came to `point`."""
        self._point = point
        self.ahead: Callable[[], timedelta] = lambda: ahead
        self._in_flight: set[asyncio.Future[Any]] = set()

    def port(self, name: str, port: object) -> Any:
        """`port` as this process sees it."""
        return _Port(self, name, port)

    async def settle(self) -> None:
        """Waits for what the process had asked for: a server carries out what it has heard."""
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def call(self, step: str, work: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        self._live()
        self.calls[step] += 1
        moment = self._moment(step)
        if moment == "before":
            self._die()
        if "now" in kwargs:
            kwargs["now"] += self.ahead()
        call = asyncio.ensure_future(work(*args, **kwargs))
        self._in_flight.add(call)
        call.add_done_callback(self._in_flight.discard)
        result = await asyncio.shield(call)
        if moment == "after":
            self._die()
        self._live()
        if step == "catalog.claim" and not result:
            self.idle.set()
        return result

    async def pages(self, step: str, pages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async def next_page() -> Any:
            return await anext(pages, _END)

        while (page := await self.call(step, next_page)) is not _END:
            yield page

    def _moment(self, step: str) -> Moment | None:
        """When this call is the last one."""
        if self._point is None or (self._point.step, self._point.occurrence) != (step, self.calls[step]):
            return None
        self.met = True
        return self._point.moment

    def _live(self) -> None:
        if self.over.is_set():
            raise Crash

    def _die(self) -> None:
        self.over.set()
        raise Crash


class _Port:
    def __init__(self, life: Life, name: str, port: object) -> None:
        self._life = life
        self._name = name
        self._port = port

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        step = f"{self._name}.{method}"
        if inspect.iscoroutinefunction(found):
            return lambda *args, **kwargs: self._life.call(step, found, *args, **kwargs)
        if inspect.isasyncgenfunction(found):
            return lambda *args, **kwargs: self._life.pages(step, found(*args, **kwargs))
        return found
