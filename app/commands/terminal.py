"""What several commands do with a terminal."""

import signal
from collections.abc import Callable
from contextlib import suppress
from time import sleep

from rich.console import Console
from rich.status import Status


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


def wait_for_interrupt() -> None:
    """Returns at Ctrl-C or SIGTERM."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with suppress(KeyboardInterrupt):
        while True:
            sleep(3600)
