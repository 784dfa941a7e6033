"""The delay of the event loop."""

import asyncio
import time

from app.telemetry.loop_delay import INTERVAL_SECONDS, watch_loop
from app.telemetry.metrics import Metrics


async def test_what_holds_up_the_loop_is_seen() -> None:
    metrics = Metrics()
    watching = asyncio.create_task(watch_loop(metrics.loop_delay))
    await asyncio.sleep(0)
    time.sleep(3 * INTERVAL_SECONDS)  # noqa: ASYNC251  # what the test is about
    await asyncio.sleep(INTERVAL_SECONDS / 10)
    watching.cancel()
    observed = metrics.registry.get_sample_value("tandem_event_loop_delay_seconds_sum")
    assert observed is not None
    assert observed >= 1.9 * INTERVAL_SECONDS
