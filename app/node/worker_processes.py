"""Runs ingestion in child processes of the node, so that parsing, chunking and writing do not hold the GIL of the node,
which answers searches and feeds the engines.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import structlog

from app import ROOT
from app.settings import PREFIX
from ingestion.notifications import Notifications
from retrieval.processes.environment import process_environment
from retrieval.processes.supervision import keep_running
from retrieval.processes.vitals import TICK_SECONDS, Vitals

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0
"""A process that lived this long ended for a new reason: the pauses begin anew."""
END_SECONDS = 10.0
"""Beyond the drain time, for closing what a process has open."""
_NETWORK = {
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
}
_SILENT_TICKS = 30
"""A process beats once a second."""
LINE_BYTES = 2**20
"""Longest line of a worker process."""

OnLine = Callable[[bytes], None]
_STARTING_SILENT_TICKS = 120
"""Limit until the first heartbeat, which is sent when its programs are loaded."""


def worker_inheritance() -> Mapping[str, str]:
    """Returns the part of this process's environment that a worker needs: the settings, with the credentials of
    database, store and bucket, and the location of models; not the keys of the node's callers.
    """
    keys = PREFIX + "API_KEY"
    names = {name for name in os.environ if name.startswith((PREFIX, "AWS_", "PG")) and not name.startswith(keys)}
    return process_environment(names=names | _NETWORK, prefixes=("HF_", "MODELSCOPE_", "OMP_", "OTEL_"))


class WorkerProcesses:
    """Runs `tandem worker` `count` times. A process that ends is restarted, with growing pauses, one that hangs is
    killed and restarted; all end with the node.
    """

    def __init__(
        self, count: int, environment: Mapping[str, str], *, drain_seconds: float, command: Sequence[str] = ()
    ) -> None:
        """`environment` is added to this process's. `command` replaces the worker's own."""
        self._count = count
        self._environment = environment
        self._drain_seconds = drain_seconds
        self._command = command or (sys.executable, "-m", "app.cli.main", "worker", "--of-node")
        self._on_line: OnLine = _ignore
        self._running: dict[int, _Child] = {}
        self._keeping: list[asyncio.Task[None]] = []

    def report_to(self, on_line: OnLine) -> None:
        """Has `on_line` called with each line that a process sends: see app.telemetry.reported. Call it before
        `start`.
        """
        self._on_line = on_line

    @property
    def failure(self) -> str | None:
        """The reason why nothing is ingested, if none of the processes runs; else None."""
        if self._running or not self._keeping:
            return None
        return f"None of the {self._count} worker processes runs; the log says why. They are started again and again."

    @property
    def pids(self) -> Sequence[int]:
        return [child.process.pid for child in self._running.values()]

    async def start(self, work_arrived: Notifications) -> None:
        """Returns when each has been started once, which is long before they work; a process that the system could not
        start is retried. `work_arrived` is forwarded to them.
        """
        for number in range(self._count):
            try:
                await self._spawn(number)
            except OSError as error:
                log.error("worker process not started", reason=str(error))
        self._keeping = [asyncio.create_task(self._keep_running(number)) for number in range(self._count)]
        self._keeping.append(asyncio.create_task(self._announce_work(work_arrived)))

    async def stop(self) -> None:
        """Lets the batches in flight finish within the drain time. The node has to answer meanwhile, since it embeds
        them.
        """
        keeping, self._keeping = self._keeping, []
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        children, self._running = list(self._running.values()), {}
        processes = [child.process for child in children]
        for process in processes:
            _signal(process, signal.SIGTERM)
        ending = [asyncio.create_task(process.wait()) for process in processes]
        if ending:
            await asyncio.wait(ending, timeout=self._drain_seconds + END_SECONDS)
        for process in processes:
            _signal(process, signal.SIGKILL)
        await asyncio.gather(*ending)
        for child in children:
            child.close()

    async def _spawn(self, number: int) -> None:
        own_end, child_end = socket.socketpair()
        with child_end, ExitStack() as unless_started:
            unless_started.callback(own_end.close)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=child_end.fileno(),
                cwd=ROOT,
                env={**worker_inheritance(), **self._environment},
                # The node handles Ctrl-C in the terminal: it lets them drain before it ends itself.
                start_new_session=True,
            )
            unless_started.pop_all()
        reader, writer = await asyncio.open_connection(sock=own_end, limit=LINE_BYTES)
        self._running[number] = _Child(process, reader, writer, self._on_line)

    async def _announce_work(self, work_arrived: Notifications) -> None:
        while True:
            arrival = work_arrived.upcoming
            await arrival.wait()
            for child in self._running.values():
                if not child.writer.is_closing():
                    child.writer.write(b"\n")

    def _keep_running(self, number: int) -> Coroutine[Any, Any, None]:
        return keep_running(
            f"worker process {number + 1}",
            partial(self._ended, number),
            partial(self._spawn, number),
            first_pause_seconds=FIRST_PAUSE_SECONDS,
            longest_pause_seconds=MAX_PAUSE_SECONDS,
            stable_seconds=STABLE_SECONDS,
        )

    async def _ended(self, number: int) -> str:
        child = self._running.get(number)
        if child is None:
            return "it could not be started"
        reason = await child.ended()
        del self._running[number]
        child.close()
        return reason


class _Child:
    """One process, and the socket that is its standard input: notifications are sent to it. A line
    a second comes back: a heartbeat, with what was counted.
    """

    def __init__(
        self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_line: OnLine
    ) -> None:
        self.process = process
        self.writer = writer
        self._vitals = Vitals(_STARTING_SILENT_TICKS)
        self._on_line = on_line
        self._listening = asyncio.create_task(self._listen(reader))

    async def ended(self) -> str:
        """Waits until the process has ended and returns how. Kills it if it hangs."""
        ending = asyncio.create_task(self.process.wait())
        try:
            while not (await asyncio.wait([ending], timeout=TICK_SECONDS))[0]:
                if hang := self._vitals.tick():
                    log.error("worker process hangs", pid=self.process.pid, reason=hang)
                    os.killpg(
                        self.process.pid, signal.SIGKILL
                    )  # with its parsers; not reaped yet, so the number is its own
                    await asyncio.wait([ending], timeout=END_SECONDS)
                    return f"it {hang} and was killed"
            return f"it ended with status {ending.result()}"
        finally:
            ending.cancel()

    def close(self) -> None:
        self._listening.cancel()
        self.writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        began = False
        with suppress(ConnectionError, ValueError):  # ValueError: a line is too long; without beats it is killed
            while line := await reader.readline():
                if began:
                    self._vitals.note_reply()
                else:
                    began, self._vitals = True, Vitals(_SILENT_TICKS)
                self._on_line(line)


def _ignore(line: bytes) -> None:
    """Nobody counts."""


def _signal(process: Process, number: int) -> None:
    if process.returncode is None:
        process.send_signal(number)
