"""Milvus Lite as a child process: its Python never holds this process's interpreter lock."""

import asyncio
import fcntl
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from time import monotonic
from typing import IO

import structlog

from retrieval.errors import ConfigurationError, StoreUnavailable

_log = structlog.get_logger()

_PROGRAM = "retrieval.stores.milvus_lite.process"
_ENVIRONMENT = {
    # Rows in memory are searched slowly: a long ingestion moves them on earlier than Lite's 128 MB.
    "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": str(16 * 1024 * 1024),
    # A thousand vectors are compared in under a millisecond; threads that wait for one another on cores that others
    # use, as they are while models run on them, make that ten.
    "OPENBLAS_NUM_THREADS": "1",
    # Indexes are built by several threads, and those that have nothing to do are not to wait by running in circles.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Of the child."""
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_STABLE_S = 60.0
"""A child that lived this long ended for a new reason: the backoff begins anew."""
_STDERR_BYTES = 1024 * 1024
_STOP_S = 8.0


class MilvusLiteServer:
    """Owns `folder`: the data, a log, and a lock that keeps a second node out.

    A child that dies is started again on the same port, with a growing pause, for as long as this object is open.
    """

    def __init__(self, folder: Path, *, start_timeout_s: float = 60.0) -> None:
        self._folder = folder
        self._start_timeout_s = start_timeout_s
        self._port = 0
        self._lock: IO[str] | None = None
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failure: str | None = "Milvus Lite has not been started."

    @property
    def uri(self) -> str:
        """Stays the same across restarts of the child. Only after `start`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def failure(self) -> str | None:
        return self._failure

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Returns when the server answers. Raises ConfigurationError where another node has the folder,
        StoreUnavailable where the server does not come up in time."""
        self._take_lock()
        try:
            await self._spawn()
        except BaseException:
            await self.close()
            raise
        self._watch = asyncio.create_task(self._keep_running(), name="milvus-lite")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        await self._stop_process()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._failure = "Milvus Lite is closed."

    def _take_lock(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / "node.lock").open("w")
        except OSError as error:
            raise ConfigurationError(
                f"TANDEM_DATA_DIR: the folder {self._folder} cannot be written ({error.strerror}).",
                setting="TANDEM_DATA_DIR",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise ConfigurationError(
                f"TANDEM_DATA_DIR: another node uses the folder {self._folder}; "
                "give each node its own folder, or set TANDEM_MILVUS_URI to a Milvus server that they share.",
                setting="TANDEM_DATA_DIR",
            ) from error
        self._lock = lock

    async def _spawn(self) -> None:
        """Starts the child and waits for its port. The child of a killed node may hold the data for a moment longer,
        so an early end is tried again until the time is up."""
        deadline = monotonic() + self._start_timeout_s
        while True:
            self._process = process = await self._launch()
            try:
                async with asyncio.timeout(deadline - monotonic()):
                    assert process.stdout is not None
                    line = await process.stdout.readline()
            except TimeoutError as error:
                await self._stop_process()
                raise StoreUnavailable(
                    f"Milvus Lite did not start within {self._start_timeout_s:g} s; see the logs in {self._folder}."
                ) from error
            if line:
                self._port = int(line)
                self._failure = None
                return
            await process.wait()
            if monotonic() + _FIRST_BACKOFF_S > deadline:
                raise StoreUnavailable(
                    f"Milvus Lite ended with status {process.returncode} at its start; see the logs in {self._folder}."
                )
            await asyncio.sleep(_FIRST_BACKOFF_S)

    async def _launch(self) -> Process:
        with self._open_stderr() as stderr:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _PROGRAM,
                f"--data-dir={self._folder / 'data'}",
                f"--log={self._folder / 'server.log'}",
                f"--port={self._port}",
                f"--parent={os.getpid()}",
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=stderr,
                env=os.environ | _ENVIRONMENT,
                # A Ctrl-C in the terminal is the node's to handle: it drains before it ends the store.
                start_new_session=True,
            )

    def _open_stderr(self) -> IO[bytes]:
        path = self._folder / "stderr.log"
        keep = path.exists() and path.stat().st_size < _STDERR_BYTES
        return path.open("ab" if keep else "wb")

    async def _keep_running(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while True:
            started = monotonic()
            assert self._process is not None
            status = await self._process.wait()
            self._failure = f"Milvus Lite's process ended with status {status}; it is being started again."
            if monotonic() - started > _STABLE_S:
                backoff = _FIRST_BACKOFF_S
            while self._failure is not None:
                _log.warning("milvus_lite_ended", status=status, restart_in_s=backoff)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF_S)
                try:
                    await self._spawn()
                except (StoreUnavailable, OSError) as error:
                    _log.warning("milvus_lite_start_failed", error=str(error))

    async def _stop_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
