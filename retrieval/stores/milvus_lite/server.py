"""Milvus Lite as a child process, so that its Python code never holds this process's GIL."""

import asyncio
import fcntl
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import IO

import structlog

from retrieval.errors import ConfigurationError, StoreFailed, StoreUnavailable
from retrieval.processes.environment import process_environment
from retrieval.processes.supervision import keep_running
from retrieval.stores.milvus_lite.heartbeat import IN_USE, Beat

_log = structlog.get_logger()

VERSION = "3.2.2"
"""The release of milvus-lite whose private functions the child replaces. pyproject.toml pins the same."""
_PROGRAM = "retrieval.stores.milvus_lite.child.main"
_ENVIRONMENT = {
    # Searching rows in memory is slow: a long ingestion flushes them earlier than Lite's 128 MB.
    "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": str(16 * 1024 * 1024),
    # A thousand vectors are compared in under a millisecond; threads that wait for one another on cores that others
    # use, as they are while models run on them, make that ten.
    "OPENBLAS_NUM_THREADS": "1",
    # Several threads build indexes, and idle ones must not spin.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Environment of the child."""
_TUNING = ("OMP_", "OPENBLAS_", "MKL_", "ARROW_", "GRPC_", "MILVUS_LITE_")
"""Variables of the libraries in the child; none of them holds a secret."""
_SOCKET_BYTES = 100
"""The longest path of a socket that every system takes: Linux takes 107."""
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_STABLE_S = 60.0
"""A child that lived this long ended for a new reason: the backoff begins anew."""
_SILENT_S = 4.0
"""After this long without a heartbeat, calls fail at once."""
_HUNG_S = 10.0
"""After this long without a heartbeat, the child counts as hung and is killed."""
_SECOND_LOOK_S = 1.0
_EARLY_ENDS = 3
"""Number of ends before the first answer after which a start is reported as failed."""
_STDERR_BYTES = 1024 * 1024
_STOP_S = 8.0


class MilvusLiteServer:
    """Owns `folder`: the data, logs, a socket, and a lock that keeps a second node out. The child listens only on that
    Unix socket, in a folder that only this user may enter.

    A child that dies or falls silent is restarted at the same address, with a growing pause, for as long as this object
    is open, unless it ended because a file of the store is damaged.
    """

    def __init__(
        self, folder: Path, *, start_timeout_s: float = 60.0, require_room: Callable[[], None] = lambda: None
    ) -> None:
        """`start_timeout_s` is the longest time until the first answer of a start. `require_room` is called before data
        is added; it raises StoreFull if the disk has no room for it.
        """
        self._folder = folder
        self._start_timeout_s = start_timeout_s
        self.require_room = require_room
        self._runtime: Path | None = None
        self._lock: IO[bytes] | None = None
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._failure: str | None = "Milvus Lite has not been started."
        self._beat = Beat()
        self._heard = 0.0
        self.on_lost: Callable[[str], None] = lambda _: None
        """Called when the child has died, with the reason."""

    @property
    def uri(self) -> str:
        """The server's address, available after `start`; it stays the same across restarts of the child."""
        return f"unix:{self._socket}"

    @property
    def away(self) -> str | None:
        """The reason why calls are not answered now, or None."""
        if self._failure is not None:
            return self._failure
        silent = monotonic() - self._heard
        if silent > _SILENT_S:
            return f"Milvus Lite's process has been silent for {silent:.0f} s; at {_HUNG_S:g} s it is started again."
        return None

    @property
    def failure(self) -> str | None:
        if (away := self.away) is not None:
            return away
        if self._beat.failing is not None:
            return (
                "Milvus Lite cannot write its files; what was acknowledged is kept in memory and in its log. "
                f"{self._beat.failing}"
            )
        return None

    @property
    def pid(self) -> int | None:
        """Process id of the child, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Returns when the server answers. Raises ConfigurationError when another node uses the folder or another
        release of milvus-lite is installed, StoreUnavailable when the server does not answer in time, StoreFailed when
        one of its files is damaged."""
        _require_version(version("milvus-lite"))
        self._take_folder()
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
        if self._runtime is not None:
            shutil.rmtree(self._runtime, ignore_errors=True)
            self._runtime = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        self._failure = "Milvus Lite is closed."

    @property
    def _socket(self) -> Path:
        return (self._runtime or self._folder) / "server.sock"

    def _take_folder(self) -> None:
        self._lock = lock_folder(self._folder)
        if self._runtime is None and len(os.fsencode(self._socket)) > _SOCKET_BYTES:
            self._runtime = Path(tempfile.mkdtemp(prefix="tandem-"))

    async def _spawn(self) -> None:
        """Starts the child and waits until it answers. The child of a killed node may hold the data for a moment
        longer, so a start that fails for this reason is retried until the timeout.
        """
        deadline = monotonic() + self._start_timeout_s
        ends = 0
        while True:
            try:
                self._process = process = await self._launch()
            except OSError as error:
                raise StoreUnavailable(f"Milvus Lite's process cannot be started: {error}.") from error
            self._beat = Beat()
            while not self._beat.ready and self._beat.damaged is None:
                try:
                    async with asyncio.timeout(min(deadline - monotonic(), self._start_timeout_s)):
                        heard = await self._listen(process)
                except TimeoutError as error:
                    await self._stop_process()
                    raise StoreUnavailable(
                        f"Milvus Lite did not start within {self._start_timeout_s:g} s; see the logs in {self._folder}."
                    ) from error
                if not heard:
                    break
            if self._beat.ready:
                self._failure = None
                return
            await process.wait()
            if self._beat.damaged is not None:
                raise StoreFailed(
                    f"The vector store is damaged: {self._beat.damaged}. Restore the file from a backup of the data "
                    "folder and start the node again."
                )
            ends += process.returncode != IN_USE
            if ends >= _EARLY_ENDS or monotonic() + _FIRST_BACKOFF_S > deadline:
                raise StoreUnavailable(
                    f"Milvus Lite ended with status {process.returncode} at its start; see the logs in {self._folder}."
                )
            await asyncio.sleep(_FIRST_BACKOFF_S)

    async def _listen(self, process: Process) -> bool:
        """Waits for a heartbeat. Returns False if the process has ended."""
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            return False
        self._heard = monotonic()
        with suppress(ValueError, TypeError):
            beat = Beat.read(line)
            if beat.failing is not None and self._beat.failing is None:
                _log.error("milvus_lite_cannot_write", reason=beat.failing)
            self._beat = beat
        return True

    async def _launch(self) -> Process:
        temporary = self._folder / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        with _private(self._folder / "stderr.log", "ab") as stderr:
            if stderr.tell() > _STDERR_BYTES:
                stderr.truncate(0)
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _PROGRAM,
                f"--data-dir={self._folder / 'data'}",
                f"--log={self._folder / 'server.log'}",
                f"--address={self.uri}",
                f"--parent={os.getpid()}",
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=stderr,
                env=process_environment(prefixes=_TUNING) | _ENVIRONMENT | {"TMPDIR": str(temporary)},
                # The node handles Ctrl-C in the terminal: it drains before it ends the store.
                start_new_session=True,
            )

    async def _keep_running(self) -> None:
        try:
            await keep_running(
                "Milvus Lite",
                self._lost,
                self._spawn,
                hopeless=(StoreFailed,),
                first_pause_seconds=_FIRST_BACKOFF_S,
                longest_pause_seconds=_MAX_BACKOFF_S,
                stable_seconds=_STABLE_S,
            )
        except StoreFailed as error:
            self._failure = error.message
            _log.error("milvus_lite_damaged", error=error.message)

    async def _lost(self) -> str:
        """Waits until the child has ended, fails the calls in flight, and returns why it ended."""
        reason = await self._end_of_child()
        self._failure = f"{reason} It is being started again."
        self.on_lost(self._failure)
        return reason

    async def _end_of_child(self) -> str:
        """Follows the child until it ends or hangs, and returns what happened to it, as a sentence."""
        process = self._process
        assert process is not None
        patience = _HUNG_S
        while True:
            try:
                async with asyncio.timeout(patience):
                    if not await self._listen(process):
                        return f"Milvus Lite's process ended with status {await process.wait()}."
                patience = _HUNG_S
            except TimeoutError:
                if patience == _HUNG_S:
                    # If this process was stopped or busy itself, heartbeats may still be waiting to be read.
                    patience = _SECOND_LOOK_S
                    continue
                _log.error("milvus_lite_hung", silent_s=_HUNG_S)
                process.kill()
                await process.wait()
                return f"Milvus Lite's process was silent for {_HUNG_S:g} s and was killed."

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


def _private(path: Path, mode: str) -> IO[bytes]:
    """Opens a file that only this user may read, if it is a new one."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | (os.O_APPEND if "a" in mode else os.O_TRUNC), 0o600)
    return os.fdopen(descriptor, mode)


def _require_version(installed: str) -> None:
    if installed != VERSION:
        raise ConfigurationError(
            f"milvus-lite {installed} is installed, but Tandem replaces private functions of {VERSION}: "
            f"run pip install 'milvus-lite[chinese]=={VERSION}'."
        )


def lock_folder(folder: Path) -> IO[bytes]:
    """Creates `folder` if it is missing, and takes its lock, which ends when the returned file is closed. Raises
    ConfigurationError if a node holds it, or the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        lock = _private(folder / "node.lock", "wb")
    except OSError as error:
        raise ConfigurationError(
            f"TANDEM_DATA_DIR: the folder {folder} cannot be written ({error.strerror}).",
            setting="TANDEM_DATA_DIR",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigurationError(
            f"TANDEM_DATA_DIR: another node uses the folder {folder}; "
            "give each node its own folder, or set TANDEM_MILVUS_URI to a Milvus server that they share.",
            setting="TANDEM_DATA_DIR",
        ) from error
    return lock
