"""Output of the commands, with and without a terminal."""

import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track
from rich.status import Status

T = TypeVar("T")
LOG_EVERY_SECONDS = 5.0
"""Interval of the first progress lines if the output is not a terminal."""
LOG_SHARE = 0.1
"""Later, the share of the elapsed time between two lines, so that a long run does not fill a log."""
LOG_WIDTH = 120


def results() -> Console:
    """The console on stdout, for results."""
    return _console(stderr=False)


def messages() -> Console:
    """The console on stderr, for progress and messages."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    """Returns a console that prints control sequences only on a terminal, whatever the environment says
    about colours.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, force_terminal=terminal, width=None if terminal else LOG_WIDTH)


def animated(console: Console) -> bool:
    """Returns whether bars can be drawn: only on a terminal that moves its cursor (not with TERM=dumb)."""
    return console.is_terminal and not console.is_dumb_terminal


def bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not animated(console),
    )


def step_reporter(console: Console, status: Status) -> Callable[[str], None]:
    """Returns a callback that shows steps in the spinner of a terminal, or prints each step once."""
    last = ""

    def report(step: str) -> None:
        nonlocal last
        if step == last:
            return
        last = step
        if animated(console):
            status.update(step)
        else:
            console.print(step, markup=False)

    return report


class ProgressLog:
    """Reports progress without a bar: one line every LOG_EVERY_SECONDS, less often as the work continues."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = self._last_report = monotonic()

    def report(self, line: str) -> None:
        """Prints `line` unless another line was printed a moment ago."""
        now = monotonic()
        if animated(self._console) or now - self._last_report <= max(
            LOG_EVERY_SECONDS, LOG_SHARE * (now - self._started)
        ):
            return
        self._last_report = now
        self._console.print(line, markup=False)


def counted(items: Collection[T], title: str, console: Console) -> Iterator[T]:
    """Yields the items and shows a bar on a terminal, or a line every few seconds."""
    log = ProgressLog(console)
    shown = track(items, title, console=console, disable=not animated(console), transient=True)
    for number, item in enumerate(shown):
        log.report(f"{title}: {number} of {len(items)}")
        yield item


def stop_on_sigterm() -> None:
    """Makes SIGTERM raise KeyboardInterrupt, like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def wait_for_interrupt() -> None:
    """Waits until Ctrl-C or SIGTERM."""
    stop_on_sigterm()
    with suppress(KeyboardInterrupt):
        while True:
            sleep(3600)
