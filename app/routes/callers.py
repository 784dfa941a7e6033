"""Work for somebody who may go away before it is done."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from fastapi import Request

from app.errors import CallerGone

ResultT = TypeVar("ResultT")


async def unless_gone(request: Request, work: Sequence[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """The results of all, side by side. Once the caller hangs up or one fails the rest is cancelled, which ends what
    an engine is still doing for it. Raises CallerGone, and what the work raises. The body must have been read."""
    tasks = [asyncio.create_task(each) for each in work]
    gone = asyncio.create_task(_disconnected(request))
    try:
        pending = {*tasks, gone}
        while not all(task.done() for task in tasks):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if gone in done:
                raise CallerGone("The caller hung up before the answer was ready.")
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        for task in [*tasks, gone]:
            task.cancel()
        await asyncio.gather(*tasks, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
