"""What worker processes count is added to what their node counts itself."""

import json

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import reported
from app.telemetry.metrics import Metrics
from app.telemetry.reported import Increments


def work(metrics: Metrics, *, seconds: float) -> None:
    metrics.outcomes.labels("ready", "").inc()
    metrics.chunks.labels("computed").inc(3)
    metrics.parser.observe((), "ok", seconds)
    metrics.store.observe(("upsert",), "ok", seconds)
    metrics.engine.observe(("embed", "bulk"), "ok", seconds)
    metrics.ready.set(1)


def shown(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """As Prometheus reads it."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("tandem_") and not sample.name.endswith("_created")
    }


def test_the_node_shows_what_all_have_counted_together() -> None:
    node, alone = Metrics(), Metrics()
    workers = [Metrics(), Metrics()]
    lines = [Increments(worker.registry) for worker in workers]
    for seconds in (0.02, 7.0):
        for worker, line in zip(workers, lines, strict=True):
            work(worker, seconds=seconds)
            work(alone, seconds=seconds)
            node.registry.add(line.line())
            assert line.line() == b"\n"  # nothing was counted since
    work(node, seconds=0.3)
    work(alone, seconds=0.3)
    found, expected = shown(node), shown(alone)
    calls_of_models = {key for key in expected if key[0].startswith("tandem_engine_")}
    assert {key: found[key] for key in expected.keys() - calls_of_models} == {
        key: expected[key] for key in expected.keys() - calls_of_models
    }
    # The node counts those when it computes them.
    assert found["tandem_engine_calls_total", frozenset({("model", "embed"), ("lane", "bulk"), ("outcome", "ok")})] == 1


def test_a_histogram_that_only_a_worker_has_is_whole_and_in_order() -> None:
    node, worker = Metrics(), Metrics()
    line = Increments(worker.registry)
    for seconds in (7.0, 0.02):  # the second one changes buckets before those of the first
        worker.store.observe(("upsert",), "ok", seconds)
        node.registry.add(line.line())
    text = generate_latest(node.registry).decode().splitlines()
    expected = generate_latest(worker.registry).decode().splitlines()
    wanted = "tandem_store_call_seconds_bucket"
    assert [each for each in text if each.startswith(wanted)] == [each for each in expected if each.startswith(wanted)]


def test_a_line_is_bounded_and_the_rest_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reported, "SAMPLES_A_LINE", 10)
    node, worker = Metrics(), Metrics()
    work(worker, seconds=1)
    line = Increments(worker.registry)
    while (said := line.line()) != b"\n":
        assert len(json.loads(said)) <= 10
        node.registry.add(said)
    outcome = "tandem_ingest_outcomes_total", frozenset({("outcome", "ready"), ("code", "")})
    assert shown(node)[outcome] == 1


@pytest.mark.parametrize("line", [b"{}\n", b"[1]\n", b"[[1,2,3,4]]\n", b'[["a","b",{},"x"]]\n', b"[[", b'{"a": 1}\n'])
def test_what_is_no_report_changes_nothing(line: bytes) -> None:
    node = Metrics()
    before = shown(node)
    node.registry.add(line)
    assert shown(node) == before


def test_the_samples_of_workers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reported, "MAX_SAMPLES", 3)
    node = Metrics()
    for number in range(5):
        change = ["tandem_ingest_outcomes", "tandem_ingest_outcomes_total", {"outcome": "x", "code": str(number)}, 1]
        node.registry.add(json.dumps([change]).encode())
        node.registry.add(json.dumps([change]).encode())
    counted = {key: value for key, value in shown(node).items() if key[0] == "tandem_ingest_outcomes_total"}
    assert list(counted.values()) == [2, 2, 2]
