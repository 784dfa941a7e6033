"""What a worker process tells its probes."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from unittest.mock import Mock

import pytest

from app.node.worker_health import SILENT_SECONDS, WorkerHealth
from app.node.workers import WorkerParts, Workers
from ingestion.notifications import Notifications
from ingestion.worker import Worker, WorkerOptions


@dataclass
class Part:
    failure: str | None = None


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def serving(clock: Clock | None = None) -> WorkerHealth:
    health = WorkerHealth(clock or Clock())
    health.parts = {"catalog": Part(), "embedder": Part()}
    health.slots = Part()
    health.phase = "serving"
    return health


def test_it_is_ready_while_it_works_and_no_part_fails() -> None:
    health = serving()
    assert health.checks() == {"worker": None, "catalog": None, "embedder": None}
    health.parts["embedder"].failure = "The node is away."  # type: ignore[misc]
    assert health.checks() == {"worker": None, "catalog": None, "embedder": "The node is away."}
    assert health.hang() is None  # no restart brings the node back


def test_before_and_after_its_work_it_is_not_ready_and_lives() -> None:
    health = WorkerHealth(Clock())
    health.report_step("starting the catalog, and waits: it is away")
    assert health.checks() == {"worker": "The worker is starting the catalog, and waits: it is away."}
    assert health.hang() is None
    health = serving()
    health.phase = "stopping"
    assert health.checks() == {"worker": "The worker is stopping."}
    health.slots = Part("1 of 1 slots have ended")  # as they do then
    assert health.hang() is None


async def test_a_loop_that_does_not_run_is_no_life() -> None:
    clock = Clock()
    health = serving(clock)
    clock.now += SILENT_SECONDS + 1
    assert health.hang() == "The event loop has not run for 31 s."
    assert health.checks()["worker"] == health.hang()
    beating = asyncio.create_task(health.beat())
    await asyncio.sleep(0)
    assert health.hang() is None
    beating.cancel()


@pytest.mark.parametrize("phase", ["starting", "serving", "stopping"])
def test_a_loop_that_hangs_is_found_in_every_phase(phase: str) -> None:
    clock = Clock()
    health = serving(clock)
    health.phase = phase  # type: ignore[assignment]
    clock.now += SILENT_SECONDS + 1
    assert health.hang()


def test_a_slot_that_ended_by_an_error_needs_a_restart() -> None:
    health = serving()
    health.slots = Part("1 of 3 slots have ended by an error; see the log.")
    assert health.hang() == health.checks()["worker"] == health.slots.failure


async def test_slots_that_end_by_themselves_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ending = asyncio.Event()

    async def run(worker: Worker) -> None:
        if str(worker._id).endswith("-0"):
            raise RuntimeError("a defect")
        await ending.wait()

    monkeypatch.setattr(Worker, "run", run)
    monkeypatch.setattr(Worker, "stop", lambda _: ending.set())
    part = Mock()
    workers = Workers(
        WorkerParts(embedders=part, store=part, catalog=part, blobs=part, parser=part),
        WorkerOptions(batch=1, lease=timedelta(seconds=60), max_attempts=1),
        slots=3,
        drain=timedelta(seconds=1),
        work_arrived=Notifications(),
        notifications=Notifications(),
    )
    workers.start()
    assert workers.failure is None
    await asyncio.sleep(0)
    assert workers.failure == "1 of 3 slots have ended by an error; see the log."
    await workers.stop()
    assert workers.failure is None
