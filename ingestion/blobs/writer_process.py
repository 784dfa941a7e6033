"""A separate process that writes originals.

A thread releases the GIL at every system call, and gets it back only when the event loop next pauses: about ten times
per file. Alongside a busy event loop, 256 files took half a second in a thread and delayed the searches.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path

import structlog

from ingestion.blobs.writing import WRITERS, parts, write

log = structlog.get_logger()

WRITE_SECONDS = 300.0
"""Seconds for one call; a process that takes longer hangs."""
CLOSE_SECONDS = 30.0


class WriterProcess:
    """A process that the first write starts, and that is started again after it has ended."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def write(self, root: Path, blobs: Mapping[str, bytes]) -> bool:
        """Returns when no write is in progress any more, with whether the process wrote. Raises the errors of
        `writing.write`.
        """
        pool = self._pool
        if pool is None:
            # Spawned, since a process that runs threads and holds devices cannot be forked.
            pool = self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)
        try:
            writing = pool.submit(_write, root, blobs)
        except (BrokenProcessPool, OSError, RuntimeError) as error:  # the system could not start a process or a thread
            self._do_without(pool, error)
            return False
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await asyncio.wrap_future(writing)
        except BrokenProcessPool as error:
            self._do_without(pool, error)
            return False
        except TimeoutError:
            _kill(pool)
            self._do_without(pool, TimeoutError(f"it wrote for more than {WRITE_SECONDS:.0f} s and was killed"))
            return False
        return True

    def _do_without(self, pool: ProcessPoolExecutor, error: Exception) -> None:
        log.warning("the process that writes originals has ended", reason=str(error))
        if self._pool is pool:
            self._pool = None
        pool.shutdown(wait=False)

    def close(self) -> None:
        """Returns when the process has ended. It completes the writes that it was given, unless it hangs."""
        if self._pool is not None:
            late = threading.Timer(CLOSE_SECONDS, _kill, [self._pool])
            late.start()
            self._pool.shutdown()
            late.cancel()


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # before Python 3.14 there is no other access to them
        process.kill()


def _begin() -> None:
    # Ctrl-C and systemd's SIGTERM reach every process of the service, and the node has to drain first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _write(root: Path, blobs: Mapping[str, bytes]) -> None:
    with ThreadPoolExecutor(WRITERS) as writers:
        writes = [writers.submit(write, root, part) for part in parts(blobs)]
        wait(writes)  # even if one of them failed
    for ended in writes:
        ended.result()
