"""The program of an engine's own process: steps one vLLM engine in a loop for as long as the node holds the socket.

It drives vLLM's engine in process and synchronously. A call of a hundred prompts is one message and one step, where
`AsyncLLM` sends a hundred messages from the node's event loop and starts with the first one that arrives.
"""

import heapq
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from math import ceil
from typing import TYPE_CHECKING, Protocol

import numpy as np

from retrieval.engines.vllm.closed_ports import close_ports
from retrieval.engines.vllm.messages import (
    Begin,
    Done,
    Drop,
    Failed,
    Loaded,
    NotStarted,
    Output,
    Ping,
    Pong,
    Started,
    Work,
    frame,
    receive,
)
from retrieval.engines.vllm.options import EngineOptions, engine_config
from retrieval.engines.vllm.workers import tie_workers

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.engine.llm_engine import LLMEngine

ENGINE_NICENESS = 5
"""Niceness of a CPU engine's threads; all other threads have 0."""
_MESSAGE_CHARACTERS = 300
_LAST = b""
"""Ends the thread that writes replies."""
_LOOK_SECONDS = 0.0002
"""Interval of checks whether the device is done."""


class DeviceMark(Protocol):
    """A point in the device's queue of work, like torch.cuda.Event."""

    def record(self) -> None:
        """Marks the work that the device has been given so far."""

    def query(self) -> bool:
        """Returns whether the device has completed the marked work."""


@dataclass(frozen=True, slots=True, order=True)
class _Prompt:
    """A prompt that the engine has not received yet."""

    priority: int
    call: int
    position: int
    work: Work = field(compare=False)
    tokens: int = field(compare=False)
    """Tokens to compute: without those that it shares with the call's first prompt, if the engine's cache
    keeps them.
    """


@dataclass(slots=True)
class _Call:
    missing: int
    outputs: list[Output | None] = field(default_factory=list)

    @property
    def requests(self) -> range:
        return range(len(self.outputs))


@dataclass(slots=True)
class Pulse:
    """Progress of the thread that steps the engine, read by the thread that answers the node's pings."""

    progress: int = 0
    working: bool = False


class EngineHost:
    """The calls under way in one engine."""

    def __init__(
        self,
        engine: "LLMEngine",
        reply: "queue.SimpleQueue[bytes]",
        *,
        portion_tokens: int | None = None,
        portion_prompts: int | None = None,
        block_tokens: int | None = None,
        mark: DeviceMark | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        """`portion_tokens` limits the tokens that the engine gets before each step; None: no limit. `portion_prompts`
        limits the prompts that the engine holds, so that it starts all of them; None: no limit. `block_tokens` is the
        block size of the prefix cache; None: there is no cache. `mark` belongs to a device that computes while the host
        continues.
        """
        self._engine = engine
        self._reply = reply
        self._portion_tokens = portion_tokens
        self._portion_prompts = portion_prompts
        self._block_tokens = block_tokens
        self._mark = mark
        self.pulse = pulse or Pulse()
        self._calls: dict[int, _Call] = {}
        self._waiting: list[_Prompt] = []
        """A heap: the more urgent first, then as they came."""
        self._waiting_tokens = 0

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._engine.has_unfinished_requests()

    @property
    def ahead(self) -> bool:
        """Whether no prompt waits here while the device still computes. A step would then only wait for its outputs,
        and prompts that arrive meanwhile would be prepared late.
        """
        return not self._waiting and self._mark is not None and not self._mark.query()

    def take(self, message: object) -> None:
        if isinstance(message, Work):
            self._calls[message.call] = _Call(len(message.prompts), [None] * len(message.prompts))
            shared = self._shared(message.prompts)
            for position, ids in enumerate(message.prompts):
                tokens = len(ids) - (shared if position else 0)
                heapq.heappush(self._waiting, _Prompt(message.priority, message.call, position, message, tokens))
                self._waiting_tokens += tokens
        elif isinstance(message, Drop):
            self._drop(message.call)

    def step(self) -> None:
        """Computes one batch, or starts to. After an exception the engine is unusable."""
        from vllm.outputs import PoolingRequestOutput

        self._submit()
        outputs = self._engine.step()
        if self._mark is not None:
            self._mark.record()
        self.pulse.progress += len(outputs)
        for output in outputs:
            assert isinstance(output, PoolingRequestOutput)
            number, _, position = output.request_id.partition("-")
            call = self._calls.get(int(number))
            if call is None:
                continue  # dropped while the batch was being computed
            values: Output = output.outputs.data.float().numpy()
            if values.size == 0 or not np.isfinite(values).all():
                self._fail(int(number), "The engine returned an output that is empty or not finite")
                continue
            call.outputs[int(position)] = values
            call.missing -= 1
            if not call.missing:
                self._done(int(number), call)

    def _submit(self) -> None:
        from vllm import PoolingParams
        from vllm.inputs import tokens_input

        most, even, tokens = self._portion_tokens, self._even_portion(), 0
        while self._waiting and self._has_room():
            prompt = self._waiting[0]
            work = prompt.work
            if tokens and most is not None and (tokens >= even or tokens + prompt.tokens > most):
                break  # a step that is larger than its graph costs more than one that is smaller
            heapq.heappop(self._waiting)
            self._waiting_tokens -= prompt.tokens
            if prompt.call not in self._calls:
                continue  # dropped meanwhile
            tokens += prompt.tokens
            ids = work.prompts[prompt.position]
            parameters = PoolingParams(task=work.task, dimensions=work.dimensions)
            try:
                name = f"{prompt.call}-{prompt.position}"
                self._engine.add_request(name, tokens_input(ids), parameters, priority=work.priority)
            except Exception as error:  # noqa: BLE001  # whatever vLLM's checks raise, the engine itself is untouched
                self._fail(prompt.call, f"The engine refused a request: {describe(error)}")

    def _has_room(self) -> bool:
        most = self._portion_prompts
        return most is None or self._engine.get_num_unfinished_requests() < most

    def _even_portion(self) -> int:
        """Returns the tokens of the next portion. It splits the waiting prompts into as few equal portions as possible:
        the first is prepared quickly, and no small rest remains.
        """
        portions = ceil(self._waiting_tokens / self._portion_tokens) if self._portion_tokens else 1
        return ceil(self._waiting_tokens / max(1, portions))

    def _shared(self, prompts: Sequence[list[int]]) -> int:
        """Returns the number of tokens that all prompts of a call begin with, in whole blocks of the cache."""
        if not self._block_tokens or len(prompts) < 2:
            return 0
        first, last = min(prompts), max(prompts)
        # The last token of each prompt is computed even if it is in the cache.
        alike = takewhile(lambda ids: ids[0] == ids[1], zip(first[:-1], last, strict=False))
        common = sum(1 for _ in alike)
        return common // self._block_tokens * self._block_tokens

    def _done(self, number: int, call: _Call) -> None:
        del self._calls[number]
        outputs = [output for output in call.outputs if output is not None]
        alike = len({output.shape for output in outputs}) == 1
        self._reply.put(frame(Done(number, np.stack(outputs) if alike else outputs)))

    def _fail(self, number: int, message: str) -> None:
        self._drop(number)
        self._reply.put(frame(Failed(number, message)))

    def _drop(self, number: int) -> None:
        call = self._calls.pop(number, None)
        if call is not None:
            self._engine.abort_request([f"{number}-{position}" for position in call.requests])


def main() -> None:
    """Runs the host. The first argument is the socket's file descriptor; the first message on it is the
    EngineOptions.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd sends it to every process, and the node has to drain first
    connection = socket.socket(fileno=int(sys.argv[1]))
    options = receive(connection)
    assert isinstance(options, EngineOptions)
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
    replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    pulse = Pulse()
    writer = threading.Thread(target=_write, args=(connection, replies), daemon=True)
    writer.start()
    threading.Thread(target=_read, args=(connection, inbox, replies, pulse), daemon=True).start()
    try:
        config = _loaded(options)
        replies.put(frame(Loaded()))
        assert isinstance(inbox.get(), Begin)
        host = EngineHost(
            _started(config),
            replies,
            portion_tokens=options.portion_tokens,
            portion_prompts=None if options.portion_tokens is None else options.max_num_seqs,
            block_tokens=config.cache_config.block_size if config.cache_config.enable_prefix_caching else None,
            mark=_device_mark(config),
            pulse=pulse,
        )
    except (ImportError, RuntimeError, ValueError, OSError, AssertionError) as error:
        missing = isinstance(error, ImportError)
        replies.put(
            frame(NotStarted("not_installed", str(error)) if missing else NotStarted("refused", describe(error)))
        )
        replies.put(_LAST)
        writer.join()
        sys.exit(1)
    replies.put(frame(Started()))
    while True:
        take_turn(host, inbox)


def take_turn(host: EngineHost, inbox: "queue.SimpleQueue[object]") -> None:
    """Handles the messages that have arrived and lets the engine continue."""
    if host.idle:
        host.pulse.working = False
        message = inbox.get()
        host.pulse.progress += 1  # earlier work is complete
        host.pulse.working = True
        host.take(message)
    elif host.ahead:
        with suppress(queue.Empty):
            host.take(inbox.get(timeout=_LOOK_SECONDS))
    while not inbox.empty():
        host.take(inbox.get())
    if not host.idle and not host.ahead:
        host.step()


def describe(error: BaseException) -> str:
    """Returns one line for an error: vLLM's messages have many lines."""
    return (" ".join(str(error).split()) or type(error).__name__)[:_MESSAGE_CHARACTERS]


def _loaded(options: EngineOptions) -> "VllmConfig":
    """Loads vLLM's programs and its configuration. This takes as long as the rest of the start, and can run while
    another engine starts.
    """
    logging.getLogger("vllm").setLevel(logging.ERROR)  # messages logged before it reads VLLM_LOGGING_LEVEL
    import vllm.v1.engine.llm_engine  # noqa: F401

    return engine_config(options)


def _started(config: "VllmConfig") -> "LLMEngine":
    from vllm.platforms import current_platform
    from vllm.v1.engine.llm_engine import LLMEngine

    if current_platform.is_cpu():
        # The engine's threads use every core all of the time. A slightly lower priority than all others lets the
        # node's event loop and the store answer at once, and costs the engine only the time that these use.
        os.nice(ENGINE_NICENESS)
    engine = LLMEngine.from_vllm_config(config, disable_log_stats=True)
    if config.parallel_config.world_size > 1:
        tie_workers(engine)
    else:
        close_ports()
    return engine


def _device_mark(config: "VllmConfig") -> DeviceMark | None:
    import torch
    from vllm.platforms import current_platform

    # A split model computes in separate processes, and this one uses no device memory.
    computes_here = current_platform.is_cuda() and config.parallel_config.world_size == 1
    return torch.cuda.Event() if computes_here else None  # type: ignore[no-untyped-call]


def _read(
    connection: socket.socket,
    inbox: "queue.SimpleQueue[object]",
    replies: "queue.SimpleQueue[bytes]",
    pulse: Pulse,
) -> None:
    try:
        while True:
            message = receive(connection)
            if isinstance(message, Ping):
                replies.put(frame(Pong(pulse.progress, pulse.working)))
            else:
                inbox.put(message)
    except (EOFError, OSError):
        os._exit(0)  # the node closed the engine, or is gone: there is nothing to keep


def _write(connection: socket.socket, replies: "queue.SimpleQueue[bytes]") -> None:
    """Sends replies in a thread, so that a busy node does not delay the engine's next step."""
    while (reply := replies.get()) != _LAST:
        connection.sendall(reply)


if __name__ == "__main__":
    main()
