"""Runs several calls concurrently, all of which have to succeed."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """Returns the results in order. A failure cancels the others and is raised when all have ended.

    It does not use asyncio.TaskGroup. In Python 3.11 a group that fails leaves its caller's task marked as cancelled,
    and in 3.11.2, which Debian 12 has, the next asyncio.timeout that expires in that task ends the task instead of
    raising TimeoutError.
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
