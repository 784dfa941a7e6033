"""Waiting for what other processes and tasks do, with a bound."""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic, sleep


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds} s"
        sleep(0.25)


async def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """The same without holding up the event loop."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)
