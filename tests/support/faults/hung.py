"""Processes that are stopped in the middle of what they do, as a deadlock or a sick disk would stop them."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def child_running(pid: int, program: str) -> psutil.Process:
    """The descendant of `pid` whose command names `program`."""
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(program in part for part in child.cmdline()):
                return child
    raise LookupError(f"no process of {pid} runs {program}")


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """They hang within; afterwards those that still live go on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
