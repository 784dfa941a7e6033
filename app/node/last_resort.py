"""Ends a process that does not end by itself, because a thread that computes cannot be stopped."""

import os
import signal
import threading
from pathlib import Path

import structlog

log = structlog.get_logger()


GRACE_SECONDS = 2.0
"""Time for the thread that ends the process to run; then the kernel ends it."""


def end_after(seconds: float) -> None:
    """Ends this process and all its descendants after `seconds`, unless it has ended before; this process alone if a
    library holds the GIL until then. Call it from the main thread.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_SECONDS)
    timer = threading.Timer(seconds, _end, [seconds])
    timer.daemon = True
    timer.start()


def descendants(pid: int) -> list[int]:
    """Returns the descendants of a process, the nearest first. Empty if there is no /proc."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(each) for each in tasks.read_text().split()]
        except OSError:  # the thread has ended meanwhile
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _end(seconds: float) -> None:
    log.error("the process did not stop in time and is ended", seconds=seconds)
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    os._exit(1)
