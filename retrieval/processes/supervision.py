"""Keeps a child process running: restarts it whenever it has ended."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from retrieval.errors import TandemError

log = structlog.get_logger()


async def keep_running(
    part: str,
    ended: Callable[[], Awaitable[str]],
    start: Callable[[], Awaitable[None]],
    *,
    on_failed_start: Callable[[str], None] | None = None,
    hopeless: tuple[type[Exception], ...] = (),
    first_pause_seconds: float,
    longest_pause_seconds: float,
    stable_seconds: float,
) -> None:
    """Restarts a part until it is cancelled. `ended` waits for the part's end and returns the reason. `start` cleans up
    and starts it again; every exception that it raises is reported to `on_failed_start` and retried, since a machine
    without free memory, processes or file descriptors may have some later. Only exceptions in `hopeless` are raised.
    Pauses before a start double up to the longest one; after the part has run for `stable_seconds` they begin anew.
    """
    loop = asyncio.get_running_loop()
    pause = first_pause_seconds
    while True:
        since = loop.time()
        reason = await ended()
        if loop.time() - since > stable_seconds:
            pause = first_pause_seconds
        started = False
        while not started:
            log.error("part ended", part=part, reason=reason, restart_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest_pause_seconds)
            try:
                await start()
                started = True
            except hopeless:
                raise
            except Exception as error:  # noqa: BLE001  # nobody else would try again
                reason = error.message if isinstance(error, TandemError) else f"{type(error).__name__}: {error}"
                if on_failed_start:
                    on_failed_start(reason)
        log.info("part restarted", part=part)
