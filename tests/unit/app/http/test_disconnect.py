"""Work for callers who may hang up."""

import asyncio

import pytest
from fastapi import Request
from starlette.types import Message

from app.errors import CallerDisconnected
from app.http.disconnect import cancel_on_disconnect
from retrieval.errors import EngineDead


class Caller:
    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    def request(self) -> Request:
        return Request({"type": "http", "headers": []}, receive=self._receive)

    async def _receive(self) -> Message:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


async def test_whoever_stays_has_the_result() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    assert await cancel_on_disconnect(Caller().request(), work()) == "done"


async def test_work_for_nobody_is_cancelled() -> None:
    caller, cancelled = Caller(), asyncio.Event()

    async def work() -> None:
        caller.hung_up.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(CallerDisconnected):
        await cancel_on_disconnect(caller.request(), work())
    assert cancelled.is_set()


async def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise EngineDead("The engine has died.")

    with pytest.raises(EngineDead):
        await cancel_on_disconnect(Caller().request(), work())


async def test_work_is_cancelled_with_whoever_waits_for_it() -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(cancel_on_disconnect(Caller().request(), work()))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cancelled.is_set()
