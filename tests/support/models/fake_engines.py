"""Engines of devices, without processes: their answers say who computed them."""

import asyncio
from collections.abc import Sequence

import numpy as np

from retrieval.engines.vllm.options import EngineTask
from retrieval.errors import EngineDead
from retrieval.types import Lane, TokenIds, Vector


class FakeEngine:
    """Answers each prompt with its own number and the prompt's first token, when `go_on` is set."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.failure: str | None = None
        self.responsive = True
        self.restarts = 0
        self.pids = (number,)
        self.unfinished = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.calls: list[tuple[Lane, int]] = []
        """Lane and prompts of each."""
        self.tasks: list[EngineTask | None] = []

    async def start(self) -> None:
        self.failure = None

    async def close(self) -> None:
        self.failure = "closed"

    def die(self) -> None:
        """Fails what is under way, and all that comes after it."""
        self.failure = "died"
        self.go_on.set()

    async def encode(
        self,
        token_ids: Sequence[TokenIds],
        *,
        lane: Lane,
        dimensions: int | None = None,
        task: EngineTask | None = None,
    ) -> Sequence[Vector]:
        self.tasks.append(task)
        self.calls.append((lane, len(token_ids)))
        self.unfinished += len(token_ids)
        try:
            await self.go_on.wait()
        finally:
            self.unfinished -= len(token_ids)
        if self.failure:
            raise EngineDead(self.failure)
        return [np.array([self.number, ids[0]], dtype=np.float32) for ids in token_ids]
