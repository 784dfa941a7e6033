"""Starts and closes the parts of a process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from retrieval.errors import TandemError, Unavailable
from retrieval.ports import Lifecycle

log = structlog.get_logger()

RETRY_SECONDS = 5.0


async def until_available(start: Callable[[], Awaitable[None]], step: str, on_step: Callable[[str], None]) -> None:
    """Retries `start`, and reports it, while a dependency is unavailable. Other errors propagate."""
    on_step(step)
    while True:
        try:
            return await start()
        except Unavailable as error:
            log.warning("waiting", step=step, code=error.code, reason=error.message)
            on_step(f"{step}, and waits: {error.message}")
            await asyncio.sleep(RETRY_SECONDS)


async def close_all(parts: Mapping[str, Lifecycle]) -> None:
    """Closes the parts in reverse order, even if one of them raises."""
    for name, part in reversed(list(parts.items())):
        try:
            await part.close()
        except TandemError as error:
            log.warning("did not close cleanly", part=name, code=error.code, reason=error.message)
