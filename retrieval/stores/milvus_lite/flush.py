"""Flushes fresh rows of Milvus Lite for fast search, and moves deletions from memory into files.

Lite compares a query with unflushed rows individually in Python (2,000 rows: about 50 ms), and by itself flushes only
after 128 MB. Flushed rows get an HNSW index in the background (2,000 rows: about 5 ms).
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from retrieval.errors import TandemError

_log = structlog.get_logger()

_QUIET_S = 1.0
"""After this long without writes, written rows are flushed. Not at once, since each flush creates a file."""
_LONGEST_PAUSE_S = 30.0
"""Longest pause before a failed flush is retried."""


class QuietFlush:
    def __init__(self, flush: Callable[[str], Awaitable[None]]) -> None:
        self._flush = flush
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def written(self, name: str) -> None:
        """Records a write to `name`: the wait for a quiet moment begins anew."""
        if (waiting := self._waiting.pop(name, None)) is not None:
            waiting.cancel()
        self._waiting[name] = asyncio.create_task(self._flush_when_quiet(name), name=f"flush-{name}")

    async def close(self) -> None:
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _flush_when_quiet(self, name: str) -> None:
        pause = _QUIET_S
        while True:
            await asyncio.sleep(pause)
            # From here on a new write no longer interrupts the flush, but waits for its turn.
            task = self._waiting.pop(name)
            try:
                await self._flush(name)
            except TandemError as error:
                _log.error("milvus_lite_flush_failed", collection=name, code=error.code, error=error.message)
                if not error.retryable:
                    return
            else:
                return
            if name in self._waiting:  # was written to meanwhile, and has a new wait
                return
            self._waiting[name] = task
            pause = min(2 * pause, _LONGEST_PAUSE_S)
