"""What is read when Prometheus asks: a part that is away or hangs leaves the rest."""

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from app.node.runner import Runner
from app.telemetry import scrape
from app.telemetry.metrics import Metrics
from app.telemetry.scrape import Scrape
from ingestion.errors import CatalogUnavailable
from ingestion.types import QueueState
from retrieval.device.load import DeviceLoad

LOAD = DeviceLoad("0", "NVIDIA H200", 5, 10)


class Catalog:
    away = False

    async def queue_state(self) -> QueueState:
        if self.away:
            raise CatalogUnavailable("away")
        return QueueState(7, 2, None)

    async def collections(self) -> list[object]:
        return []

    async def totals(self, names: object) -> dict[str, object]:
        return {}


def runner_of(catalog: Catalog, **problems: str) -> Runner:
    node = SimpleNamespace(health_checks=("store", "disk"), components=SimpleNamespace(catalog=catalog))
    return cast("Runner", SimpleNamespace(node=node, phase="serving", problems=lambda: problems))


async def test_a_database_that_is_away_is_no_number() -> None:
    catalog = Catalog()
    read = Scrape(Metrics(), lambda: [LOAD])
    assert "tandem_ingest_queue_documents 7.0" in (await read(runner_of(catalog))).decode()
    catalog.away = True
    said = (await read(runner_of(catalog, store="The store is away."))).decode()
    assert "tandem_ingest_queue_documents NaN" in said
    assert 'tandem_component_failing{component="store"} 1.0' in said
    assert 'tandem_component_failing{component="disk"} 0.0' in said
    assert "tandem_ready 0.0" in said


async def test_a_driver_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "READ_SECONDS", 0.01)
    asked, answers = [], threading.Event()

    def read_devices() -> list[DeviceLoad]:
        asked.append(1)
        answers.wait(30)
        return [LOAD]

    read = Scrape(Metrics(), read_devices)
    for _ in range(3):
        assert "tandem_device_memory_used_bytes{" not in (await read(runner_of(Catalog()))).decode()
    assert len(asked) == 1
    monkeypatch.setattr(scrape, "READ_SECONDS", 30)
    answers.set()
    assert (
        'tandem_device_memory_used_bytes{device="0",name="NVIDIA H200"} 5.0'
        in (await read(runner_of(Catalog()))).decode()
    )
