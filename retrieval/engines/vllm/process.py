"""One vLLM engine host as the node sees it: its start, its calls and its end."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from math import ceil
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import structlog

from retrieval.device.detect import find_device
from retrieval.device.memory_wait import ReadMemory, wait_for_memory
from retrieval.engines.vllm.messages import (
    Begin,
    Done,
    Drop,
    Failed,
    NotStarted,
    Output,
    Ping,
    Pong,
    Work,
    frame,
    read,
    receive,
)
from retrieval.engines.vllm.options import EngineOptions, EngineTask, engine_environment
from retrieval.errors import ConfigurationError, EngineDead, EngineFailed, TandemError
from retrieval.processes.vitals import TICK_SECONDS, Vitals
from retrieval.types import Lane, TokenIds

if TYPE_CHECKING:
    import psutil

log = structlog.get_logger()

PROGRAM = "retrieval.engines.vllm.host"

_STARTING = threading.Lock()
"""Held while an engine takes its part of a GPU or NPU. vLLM measures the device's free memory then, and another engine
that allocates or releases memory meanwhile would distort it. On a CPU nothing is measured.
"""
_STOP_SECONDS = 10.0
_SILENT_TICKS = 10
_RESPONSIVE_TICKS = 2
"""One that is silent for longer may hang: others are asked first."""
_STARTING_SILENT_TICKS = 120
"""While it loads a model or compiles it, a host may keep Python's lock for long."""
_START_TICKS = 1800
"""Limit of each half of a start, including compilation and slow disks."""


class EngineProcess:
    """A started engine. Requests are sent from the event loop; `stop` blocks and runs in a thread."""

    def __init__(self, process: "subprocess.Popen[bytes]", connection: socket.socket, options: EngineOptions) -> None:
        self._process = process
        self._connection = connection
        self._name = options.name
        self._vitals = Vitals(_SILENT_TICKS, ceil(options.stall_seconds / TICK_SECONDS))
        self._hangs: str | None = None
        self._children = _children(process.pid)
        self._numbers = count(1)
        self._calls: dict[int, tuple[int, asyncio.Future[Sequence[Output]]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def dead(self) -> bool:
        """Whether the process has ended. A hung process counts as well: it has been killed."""
        gone = self._process.poll() is not None or self._reading is None or self._reading.done()
        return gone or self._hangs is not None

    @property
    def responsive(self) -> bool:
        """Whether a sign of life arrived recently."""
        return self._vitals.silent_ticks <= _RESPONSIVE_TICKS

    @property
    def end(self) -> str:
        """Describes how a dead process ended, as the end of a sentence that begins with its name."""
        return f"{self._hangs} and was killed" if self._hangs else "died"

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._process.pid,)

    @property
    def unfinished(self) -> int:
        """Number of prompts whose calls wait for their answer."""
        return sum(prompts for prompts, _ in self._calls.values())

    async def attach(self) -> None:
        """Binds the engine to the running event loop."""
        reader, self._writer = await asyncio.open_connection(sock=self._connection)
        self._reading = asyncio.create_task(self._read(reader), name=f"replies of {self._name}")
        self._watching = asyncio.create_task(self._watch(self._writer), name=f"heartbeat of {self._name}")

    async def encode(
        self, token_ids: Sequence[TokenIds], lane: Lane, task: EngineTask, dimensions: int | None
    ) -> Sequence[Output]:
        """Returns one output per prompt, in order. Any early end, cancellation included, drops the whole call. Raises
        EngineDead, EngineFailed.
        """
        if self.dead or self._writer is None:
            raise self._death()
        if not token_ids:
            return []
        number = next(self._numbers)
        answer: asyncio.Future[Sequence[Output]] = asyncio.get_running_loop().create_future()
        self._calls[number] = (len(token_ids), answer)
        self._writer.write(frame(Work(number, [list(ids) for ids in token_ids], int(lane), task, dimensions)))
        try:
            return await answer
        finally:
            if self._calls.pop(number, None) and not self.dead:
                self._writer.write(frame(Drop(number)))

    def detach(self) -> None:
        """Fails every waiter and tells the host to end. Call it in the event loop before `stop`."""
        for task in (self._reading, self._watching):
            if task is not None:
                task.cancel()
        if self._writer is not None:
            self._writer.close()
        self._fail_calls()

    def stop(self) -> None:
        """Ends the process and waits for it. Also works on a dead engine, whose children may have outlived it. Raises
        EngineFailed if the system cannot end it; call it again then.
        """
        with suppress(OSError):
            self._connection.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(self._process)
        _end({*self._children, *_session(self._process.pid)})

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                message = await read(reader)
                if isinstance(message, Pong):
                    self._vitals.reported(message.progress, working=message.working)
                    continue
                self._vitals.note_reply()
                assert isinstance(message, Done | Failed)
                _, answer = self._calls.pop(message.call, (0, None))
                if answer is None or answer.done():
                    continue  # dropped meanwhile
                if isinstance(message, Done):
                    answer.set_result(list(message.outputs))
                else:
                    answer.set_exception(EngineFailed(f"{self._name}: {message.message}"))
        except (EOFError, ConnectionError):
            self._fail_calls()

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        """Kills a host that hangs."""
        while not self.dead:
            writer.write(frame(Ping()))
            await asyncio.sleep(TICK_SECONDS)
            self._hangs = self._vitals.tick()
        if self._hangs:
            log.error("engine hangs", model=self._name, pid=self._process.pid, reason=self._hangs)
            self._process.kill()
            self._fail_calls()

    def _fail_calls(self) -> None:
        calls, self._calls = self._calls, {}
        for _, answer in calls.values():
            if not answer.done():
                answer.set_exception(self._death())

    def _death(self) -> EngineDead:
        return EngineDead(f"The engine of {self._name} {self.end}; it is being restarted")


class EngineLaunch:
    """One attempt to start an engine. `run` and `cancel` block; call them in two threads."""

    def __init__(self, options: EngineOptions, read_memory: ReadMemory | None = None) -> None:
        """`read_memory` returns the device's memory. A start then waits until a killed engine has released
        its memory.
        """
        self._options = options
        self._read_memory = read_memory
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> EngineProcess:
        """Starts the engine. Raises EngineFailed (it would not start), EngineDead (cancelled), ConfigurationError (vLLM
        not installed).
        """
        try:
            return self._run()
        except OSError as error:
            raise EngineFailed(
                f"vLLM could not start {self._options.name}: the system gave no process: {error.strerror or error}"
            ) from error
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Makes `run` raise, and returns when it has."""
        self._cancelled.set()
        while not self._done.wait(0.1):
            if self._process is not None:
                self._process.kill()

    def _run(self) -> EngineProcess:
        process, connection = self._spawn()
        with ExitStack() as turn:
            try:
                self._send(process, connection, self._options)
                if self._measures_memory():
                    turn.enter_context(self._turn())
                if find_device() != "cpu":
                    self._wait_for_memory()
                self._send(process, connection, Begin())
                return EngineProcess(process, connection, self._options)
            except BaseException:
                # Before the next one starts: the device memory of this one is free by then.
                connection.close()
                _end_host(process)
                raise

    def _spawn(self) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        """Starts the host. Its command line shows in a list of processes which model it serves."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-P", "-m", PROGRAM, str(theirs.fileno()), self._options.task, self._options.name],
                env=engine_environment(self._options),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the node handles Ctrl-C in the terminal: it drains first
            )
            unless_started.pop_all()
        self._process = process
        return process, ours

    def _send(
        self, process: "subprocess.Popen[bytes]", connection: socket.socket, message: EngineOptions | Begin
    ) -> None:
        """Sends a message and returns when the host has executed it. Raises the errors of `run`."""
        try:
            connection.sendall(frame(message))
            answer = self._answer(connection)
        except (EOFError, OSError):
            answer = None
        self._check()
        if isinstance(answer, NotStarted):
            raise self._refusal(answer)
        if answer is None:
            process.kill()
            status = process.wait()
            raise EngineFailed(f"vLLM could not start {self._options.name}: its process ended with status {status}")

    def _answer(self, connection: socket.socket) -> object:
        """Returns the host's next message other than signs of life. Raises EngineFailed if the host hangs."""
        vitals = Vitals(_STARTING_SILENT_TICKS)
        for _ in range(_START_TICKS):
            while wait([connection], timeout=TICK_SECONDS):
                message = receive(connection)
                if not isinstance(message, Pong):
                    return message
                vitals.note_reply()
            self._check()
            if hangs := vitals.tick():
                raise EngineFailed(f"vLLM could not start {self._options.name}: its process {hangs}")
            connection.sendall(frame(Ping()))
        minutes = _START_TICKS * TICK_SECONDS / 60
        raise EngineFailed(f"vLLM could not start {self._options.name}: it was not done after {minutes:.0f} minutes")

    def _measures_memory(self) -> bool:
        """Whether vLLM measures memory at this start, which would count memory of others as this engine's own. vLLM for
        CUDA measures nothing if the size of its cache is stated.
        """
        device = find_device()
        return device == "npu" or (device == "cuda" and self._options.kv_cache_bytes is None)

    def _wait_for_memory(self) -> None:
        if self._read_memory is not None:
            wait_for_memory(self._options.memory_share, self._read_memory, partial(self._cancelled.wait, 1.0))
            self._check()

    def _refusal(self, answer: NotStarted) -> TandemError:
        if answer.why == "not_installed":
            return ConfigurationError(f"The engine vllm needs the package vllm: {answer.message}")
        return EngineFailed(f"vLLM could not start {self._options.name}: {answer.message}")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not _STARTING.acquire(timeout=0.1):
            self._check()
        try:
            self._check()
            yield
        finally:
            _STARTING.release()

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise EngineDead("The engine was closed while it started")


def _end_host(process: "subprocess.Popen[bytes]") -> None:
    """Ends the host, if it has not ended yet, and all processes that it has started."""
    _kill(process)
    _end(_session(process.pid))  # so that it can start no further ones


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kills the process and returns when it is gone. Raises EngineFailed if the system cannot end it, for instance
    because a driver hangs.
    """
    process.kill()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise EngineFailed(
            f"The system does not end the killed process {process.pid}: does its device hang?"
        ) from error


def _session(pid: int) -> "list[psutil.Process]":
    """Returns the processes that a dead host, perhaps in the middle of its start, has left in its session."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) == pid != process.pid:
                found.append(process)
    return found


def _end(processes: "Collection[psutil.Process]") -> None:
    """Ends the processes after giving them time to end themselves: one of them removes the resources that
    they shared.
    """
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_STOP_SECONDS)


def _children(pid: int) -> "list[psutil.Process]":
    import psutil

    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []
