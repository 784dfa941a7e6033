"""Measures how late the node's event loop runs what is due. Every step of a search waits this long."""

import asyncio
from typing import Final

from prometheus_client import Histogram

INTERVAL_SECONDS: Final = 0.1


async def watch_loop(delay: Histogram) -> None:
    """Observes the delay ten times a second, until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        delay.observe(max(loop.time() - due, 0.0))
