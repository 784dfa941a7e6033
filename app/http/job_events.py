"""Streams a job as server-sent events, for the API and the pages."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import anyio
from sse_starlette import ServerSentEvent

from app.access.view import NodeView
from app.http.server.occupancy import Occupancy
from app.http.server.streams import BoundedStream
from ingestion.service import WATCH_SECONDS
from ingestion.types import Job, JobId

PING_SECONDS: Final = 15
"""Interval of the comments that keep a silent stream open in proxies and reveal a closed connection."""
SEND_SECONDS: Final = 30.0
"""A client that reads nothing for this long is disconnected."""


async def stream_job(
    node: NodeView, job_id: JobId, streams: Occupancy, event_of: Callable[[Job], ServerSentEvent]
) -> BoundedStream:
    """Returns a stream of the job now and after each change, until it has ended or the node stops. Raises JobNotFound
    before anything is sent.
    """
    stopping = anyio.Event()
    jobs = node.jobs.watch(job_id, leaving=stopping.is_set)
    first = await anext(jobs)  # an unknown job is an error of the usual format, not a broken stream

    async def events() -> AsyncGenerator[ServerSentEvent, None]:
        async with aclosing(jobs):
            yield event_of(first)
            async for job in jobs:
                yield event_of(job)

    return BoundedStream(
        events(),
        streams,
        ping=PING_SECONDS,
        send_timeout=SEND_SECONDS,
        shutdown_event=stopping,
        shutdown_grace_period=WATCH_SECONDS + 1,
    )
