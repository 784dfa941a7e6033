"""Several calls at once, of which each is needed."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Results in order. One failure cancels the others and is raised when all have ended.

    No asyncio.TaskGroup: in Python 3.11 one that fails leaves its caller's task marked as cancelled, and in 3.11.2,
    which Debian 12 has, the next asyncio.timeout that runs out there ends that task instead of raising TimeoutError.
    """
    tasks: list[asyncio.Task[ResultT]] = []
    try:
        tasks.extend(asyncio.create_task(each) for each in work)
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
