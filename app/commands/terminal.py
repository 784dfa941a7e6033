"""What several commands do with a terminal."""

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.status import Status

T = TypeVar("T")
LOG_EVERY_SECONDS = 5.0
"""How often progress is told where the output is no terminal."""


def step_teller(console: Console, status: Status) -> Callable[[str], None]:
    """Shows steps in the spinner of a terminal; elsewhere prints each one once."""
    last = ""

    def tell(step: str) -> None:
        nonlocal last
        if step == last:
            return
        last = step
        if console.is_terminal:
            status.update(step)
        else:
            console.print(step, markup=False)

    return tell


class ProgressLog:
    """Progress where the output is no terminal, and so has no bar: a line every LOG_EVERY_SECONDS."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = monotonic()

    def tell(self, line: str) -> None:
        """Prints `line` unless another was printed a moment ago."""
        if not self._console.is_terminal and monotonic() - self._told > LOG_EVERY_SECONDS:
            self._told = monotonic()
            self._console.print(line, markup=False)


def counted(items: Collection[T], title: str, console: Console) -> Iterator[T]:
    """The items, with a bar on a terminal while they last; elsewhere with a line every few seconds."""
    log = ProgressLog(console)
    bar = track(items, title, console=console, disable=not console.is_terminal, transient=True)
    for number, item in enumerate(bar):
        log.tell(f"{title}: {number} of {len(items)}")
        yield item


def wait_for_interrupt() -> None:
    """Returns at Ctrl-C or SIGTERM."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with suppress(KeyboardInterrupt):
        while True:
            sleep(3600)
