"""What probes of a worker process ask for. Its event loop writes it, and the thread that answers probes reads it."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Literal, Protocol

from retrieval.processes.vitals import TICK_SECONDS

SILENT_SECONDS = 30.0
"""A loop that has not run for so long hangs: no call on it takes that long."""


class Part(Protocol):
    @property
    def failure(self) -> str | None: ...


class WorkerHealth:
    """The process lives while its event loop runs and none of its slots has ended by itself. It is ready while it
    works and none of its parts fails."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._beaten_at = clock()
        self.phase: Literal["starting", "serving", "stopping"] = "starting"
        self.step = "about to start"
        """What the start does at present, or waits for."""
        self.parts: Mapping[str, Part] = {}
        """By the names that a node's readiness has for them."""
        self.slots: Part | None = None
        """The slots that ingest, once they have started."""

    def report_step(self, step: str) -> None:
        self.step = step

    async def beat(self) -> None:
        """Runs on the event loop until it is cancelled."""
        while True:
            self._beaten_at = self._clock()
            await asyncio.sleep(TICK_SECONDS)

    def hang(self) -> str | None:
        """Returns the reason why only a restart helps, or None."""
        silent = self._clock() - self._beaten_at
        if silent > SILENT_SECONDS:
            return f"The event loop has not run for {silent:.0f} s."
        if self.slots and self.phase == "serving":
            return self.slots.failure
        return None

    def checks(self) -> Mapping[str, str | None]:
        """Returns what keeps the process from working, by component; None for a component that works."""
        if self.phase == "starting":
            return {"worker": f"The worker is {self.step}."}
        if self.phase == "stopping":
            return {"worker": "The worker is stopping."}
        return {"worker": self.hang(), **{name: part.failure for name, part in self.parts.items()}}
