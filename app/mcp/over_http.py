"""A node elsewhere behind the tools, through its HTTP interface."""

import asyncio
from collections.abc import Sequence
from time import monotonic

from app.cli.client.node_client import Client
from app.mcp.port import Json
from langchain_tandem.client.calls import ENDED

FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0
"""Between looks at a job: most texts are searchable within a second."""


class OverHttp:
    """The client blocks, so every call has a thread of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def search(self, request: Json) -> Json:
        return await asyncio.to_thread(self._client.search, **request)

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        accepted = await asyncio.to_thread(self._client.ingest, **request)
        until, pause = monotonic() + wait_seconds, FIRST_PAUSE_SECONDS
        job = await asyncio.to_thread(self._client.job, accepted["job_id"], receipts=True)
        while job["state"] not in ENDED and monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            job = await asyncio.to_thread(self._client.job, accepted["job_id"], receipts=True)
        return job

    async def collections(self) -> Sequence[Json]:
        return await asyncio.to_thread(lambda: list(self._client.collections()))
