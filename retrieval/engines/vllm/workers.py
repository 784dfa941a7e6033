"""Ties the worker processes of vLLM, which exist if a model is split over several devices, to the engine's host.

vLLM's workers check for the host's end between two steps only. A worker that waits within a step for another worker
that has ended would wait for ever and keep its device.
"""

import ctypes
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.worker.worker_base import WorkerBase

_PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal that a process gets when its parent ends."""


def tie_workers(engine: "LLMEngine") -> None:
    """Makes the workers end with the host. Call it in the host, in the thread that made `engine`: for the kernel, that
    thread is the workers' parent.
    """
    engine.collective_rpc(partial(_end_with, host=os.getpid()))
    # Without it the host would notice a dead worker only at the next request, which would fail.
    engine.model_executor.register_failure_callback(lambda: os._exit(1))


def _end_with(_: "WorkerBase", host: int) -> None:
    """Runs in each worker."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as in the host: the node has to drain first
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:  # it ended before the call above
        os.kill(os.getpid(), signal.SIGKILL)
    # On a CPU workers exchange their results in shared memory. All have opened it by now; without its name it is
    # removed with the last of them, however it ends.
    if name := os.environ.get("VLLM_DIST_IDENT"):
        for file in Path("/dev/shm").glob(f"{name}-*"):  # noqa: S108  # where the kernel has it
            file.unlink(missing_ok=True)
