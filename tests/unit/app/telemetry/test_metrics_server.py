"""The metrics and probes of `tandem worker`, over HTTP."""

import socket

import httpx
import pytest

from app.http.schemas.health import ReadyOut
from app.node.worker_health import WorkerHealth
from app.telemetry.metrics import Metrics
from app.telemetry.metrics_server import serving_metrics
from retrieval.errors import ConfigurationError


@pytest.mark.parametrize("with_models", [True, False])
def test_the_metrics_are_served_until_the_end(*, with_models: bool) -> None:
    metrics = Metrics()
    metrics.outcomes.labels("ready", "").inc()
    metrics.engine.observe(("embed", "bulk"), "ok", 1)
    with serving_metrics(metrics.registry, WorkerHealth(), "127.0.0.1", 0, with_models=with_models) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        said = httpx.get(url, trust_env=False)
        assert 'tandem_ingest_outcomes_total{code="",outcome="ready"} 1.0' in said.text
        assert "tandem_build_info{" in said.text
        assert "process_resident_memory_bytes " in said.text
        # A node that is not ready, with nothing in its queue: no worker may look like that.
        assert "tandem_ready" not in said.text
        assert ("tandem_engine_calls_total{" in said.text) == with_models
        assert "tandem_ingest_queue" not in said.text
        assert httpx.post(url, trust_env=False).status_code == 405
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


class Failing:
    failure = "The node is away."


def test_the_probes_answer_in_a_node_s_form() -> None:
    health = WorkerHealth()
    with (
        serving_metrics(Metrics().registry, health, "127.0.0.1", 0, with_models=True) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        live, starting = http.get("/health/live"), http.get("/health/ready")
        assert (live.status_code, live.json()) == (200, {"live": True})
        assert starting.status_code == 503
        assert ReadyOut.model_validate_json(starting.content).checks["worker"].detail.endswith("about to start.")
        health.phase = "serving"
        serving = http.get("/health/ready")
        assert (serving.status_code, ReadyOut.model_validate_json(serving.content).ready) == (200, True)
        health.parts = {"embedder": Failing()}
        failing = http.get("/health/ready")
        assert failing.status_code == 503
        assert failing.json()["checks"]["embedder"] == {"ok": False, "detail": "The node is away."}
        assert http.get("/health/live").status_code == 200
        health.slots = Failing()
        live = http.get("/health/live")
        assert (live.status_code, live.json()) == (503, {"live": False, "detail": "The node is away."})
        assert http.get("/documents").status_code == 404


def test_a_port_in_use_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=f"TANDEM_WORKER_METRICS_PORT={port}: .*in use"),
            serving_metrics(Metrics().registry, WorkerHealth(), "127.0.0.1", port, with_models=True),
        ):
            pass
