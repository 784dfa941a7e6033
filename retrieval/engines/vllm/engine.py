"""A vLLM engine under this process's control: started, monitored, restarted when it dies, and closed without leftovers.

Its errors are Tandem's. Requests of one engine run in the order of their lanes' priority; this module does not schedule
two engines that share a device.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from retrieval.device.memory_wait import ReadMemory
from retrieval.engines.vllm.messages import Output
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.engines.vllm.process import EngineLaunch, EngineProcess
from retrieval.errors import EngineDead, NotReady, TandemError, Unavailable
from retrieval.processes.supervision import keep_running
from retrieval.types import Lane, TokenIds

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
_STABLE_SECONDS = 300.0
"""An engine that served this long has paid for its earlier restarts."""
_WATCH_SECONDS = 0.25
_STALLS_PER_CALL = 10
"""An engine that hangs is found out long before, and one that works gets through everything that it was given: a call
that takes longer was lost."""


class VllmEngine:
    """One model in one engine process. `start` and `encode` belong to the same event loop."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        read_memory: ReadMemory | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """`read_memory` has the meaning of EngineLaunch's. `on_restart` runs after each restart, when `encode` works
        again and before `failure` clears; a TandemError that it raises becomes the failure.
        """
        self.options = options
        self._read_memory = read_memory
        self._on_restart = on_restart
        self._first_pause_seconds = first_pause_seconds
        self._name = options.name
        self._call_seconds = _STALLS_PER_CALL * options.stall_seconds
        self._failure: str | None = "The engine was not started"
        self._process: EngineProcess | None = None
        self._died: asyncio.Future[None] | None = None
        self._launch: EngineLaunch | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._closed = False
        self.restarts = 0
        """Completed restarts since `start`."""

    @property
    def failure(self) -> str | None:
        """Set as soon as the process is gone, before its callers and the supervisor notice."""
        if self._failure is None and self._process is not None and self._process.dead:
            return f"The engine of {self._name} {self._process.end}; it is being restarted"
        return self._failure

    @property
    def responsive(self) -> bool:
        """Whether its process has sent something recently; a silent one may hang."""
        return self._process is None or self._process.responsive

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the engine's processes; empty while it has none."""
        return self._process.pids if self._process else ()

    @property
    def unfinished(self) -> int:
        """Number of requests that the engine holds."""
        return self._process.unfinished if self._process else 0

    async def start(self) -> None:
        """Returns when the engine serves. Raises EngineFailed, ConfigurationError; EngineDead if it was closed
        meanwhile.
        """
        try:
            await self._start_process()
        except TandemError as error:
            self._failure = error.message
            raise
        self._failure = None
        self._supervisor = asyncio.create_task(
            keep_running(
                f"engine of {self._name}",
                self._ended,
                self._restart,
                on_failed_start=self._not_restarted,
                first_pause_seconds=self._first_pause_seconds,
                longest_pause_seconds=MAX_PAUSE_SECONDS,
                stable_seconds=_STABLE_SECONDS,
            ),
            name=f"engine {self._name}",
        )

    async def close(self) -> None:
        """Fails every waiter and ends the processes, those of a start in progress included."""
        self._closed = True
        self._fail_waiters("The engine was closed")
        if self._launch is not None:
            await asyncio.to_thread(self._launch.cancel)
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        async with self._changing:
            await self._stop_process()

    async def encode(
        self,
        token_ids: Sequence[TokenIds],
        *,
        lane: Lane,
        dimensions: int | None = None,
        task: EngineTask | None = None,
    ) -> Sequence[Output]:
        """Returns one output per prompt, in order; a prompt holds at least one token.

        `dimensions` needs a model started with `is_matryoshka`. `task` is None for the engine's own; an engine with the
        task `embed` also does `token_embed`. Cancelling the caller aborts its requests; if one
        fails, the call's other requests are aborted. Raises EngineDead, EngineFailed, NotReady, Unavailable (late).
        """
        process, died = self._process, self._died
        if process is None or died is None or died.done():
            raise (NotReady if self._supervisor is None and not self._closed else EngineDead)(str(self._failure))
        work = asyncio.create_task(process.encode(token_ids, lane, task or self.options.task, dimensions))
        first: list[asyncio.Future[Any]] = [work, died]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED, timeout=self._call_seconds)
            if work.done():
                return work.result()
            if not died.done():
                raise Unavailable(f"The engine of {self._name} did not answer within {self._call_seconds:.0f} s")
        except EngineDead as error:
            if not died.done():
                self._fail_waiters(error.message)
            raise
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait([work])
        raise EngineDead(str(self._failure))

    def _fail_waiters(self, failure: str) -> None:
        if self._died is not None and not self._died.done():
            self._died.set_result(None)
        self._failure = failure

    async def _start_process(self) -> None:
        async with self._changing:
            if self._closed:
                raise EngineDead("The engine was closed")
            self._launch = EngineLaunch(self.options, self._read_memory)
            run = asyncio.ensure_future(asyncio.to_thread(self._launch.run))
            try:
                process = await asyncio.shield(run)
            except asyncio.CancelledError:
                await asyncio.to_thread(self._launch.cancel)
                await self._discard(run)
                raise
            finally:
                self._launch = None
            self._process = process
            try:
                await self._attach(process)
            except BaseException:
                await self._stop_process()
                raise
            self._died = asyncio.get_running_loop().create_future()

    async def _attach(self, process: EngineProcess) -> None:
        if self._closed:
            raise EngineDead("The engine was closed while it started")
        await process.attach()

    async def _discard(self, run: "asyncio.Future[EngineProcess]") -> None:
        """Consumes the result of a start that no caller waits for: usually EngineDead, since the start was
        cancelled.
        """
        with suppress(TandemError):
            await asyncio.to_thread((await run).stop)

    async def _stop_process(self) -> None:
        if self._process is not None:
            self._process.detach()
            await asyncio.to_thread(self._process.stop)
            self._process = None

    async def _ended(self) -> str:
        """Waits until the engine is dead, also while it is idle, and returns the reason. Its callers have failed by
        then.
        """
        process, died = self._process, self._died
        assert process is not None
        assert died is not None
        while not died.done() and not process.dead:
            await asyncio.wait([died], timeout=_WATCH_SECONDS)
        self._fail_waiters(f"The engine of {self._name} {process.end}; it is being restarted")
        return process.end

    async def _restart(self) -> None:
        async with self._changing:
            await self._stop_process()
        await self._start_process()
        failure = None
        if self._on_restart is not None:
            try:
                await self._on_restart()
            except TandemError as error:
                failure = error.message
        self.restarts += 1
        if self._died is not None and not self._died.done():
            self._failure = failure

    def _not_restarted(self, reason: str) -> None:
        self._failure = f"The engine of {self._name} died and does not restart yet; it is tried again: {reason}"
