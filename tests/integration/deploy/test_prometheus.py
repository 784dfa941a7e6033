"""A real Prometheus reads a node under load: every query of the dashboard, of the alerts and of the autoscalers finds
something there."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from helm_python import Chart

from app import main
from app.main import create_app
from app.settings import Settings
from retrieval.device.devices import Device, Devices
from retrieval.device.gate import Gate
from retrieval.device.load import DeviceLoad
from retrieval.errors import EngineDead
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for
from tests.support.waiting import free_port

DEPLOY = Path(__file__).parents[3] / "deploy"
OBSERVABILITY = DEPLOY / "observability"
CHART = DEPLOY / "helm" / "tandem"
TARGET = {"namespace": "default", "pod": "tandem-node-0", "service": "tandem-http"}
"""What the Prometheus operator adds to the metrics of a pod, in the namespace and release of the rendered manifests."""
LOAD = DeviceLoad("0", "NVIDIA H200", 70 * 2**30, 139 * 2**30, utilization=0.8, temperature_celsius=50, power_watts=500)
THRESHOLD = re.compile(r"\s*(==|>|<)\s*[\d.]+\s*$")
KEY = "right"
INTERVAL, WINDOW = "1s", "10s"


def dashboard_queries() -> list[str]:
    panels = json.loads((OBSERVABILITY / "grafana" / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [
        query.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", WINDOW) for query in queries
    ]


def alert_queries() -> list[str]:
    """What each alert measures, without the threshold that it must not have passed here."""
    groups = yaml.safe_load((OBSERVABILITY / "prometheus" / "alerts.yaml").read_text())["groups"]
    found = [rule["expr"] for group in groups for rule in group["rules"]]
    assert all(THRESHOLD.search(query) for query in found)
    return [re.sub(r"\[\d+m\]", f"[{WINDOW}]", THRESHOLD.sub("", query)) for query in found]


def adapter_queries() -> list[str]:
    """What prometheus-adapter asks for the HorizontalPodAutoscalers of cluster.yaml."""
    rules = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"]
    by_name = {rule["name"]["as"]: rule for kind in ("custom", "external") for rule in rules[kind]}
    found = []
    for manifest in yaml.safe_load_all((DEPLOY / "kubernetes" / "cluster.yaml").read_text()):
        if manifest["kind"] != "HorizontalPodAutoscaler":
            continue
        for metric in manifest["spec"]["metrics"]:
            asked = metric[metric["type"].lower()]["metric"]
            found.append(_expanded(by_name[asked["name"]], asked.get("selector", {}).get("matchLabels")))
    return found


def _expanded(rule: Mapping[str, str], selector: Mapping[str, str] | None) -> str:
    """The query of a rule: for the objects of `selector`, or of a pod, as the adapter fills it in."""
    of_object = {"namespace": TARGET["namespace"], **(selector or {"pod": TARGET["pod"]})}
    filled = {
        "Series": rule["seriesQuery"].partition("{")[0],
        "LabelMatchers": ",".join(f'{name}="{value}"' for name, value in of_object.items()),
        "GroupBy": "namespace" if selector else "pod",
    }
    return re.sub(r"<<\.(\w+)>>", lambda match: filled[match[1]], rule["metricsQuery"])


def keda_queries() -> list[str]:
    with Chart.load(CHART) as chart:
        values = yaml.safe_load((CHART / "ci" / "keda.yaml").read_text())
        rendered = chart.render(values=values, name="tandem", namespace=TARGET["namespace"])
    manifests = [each for text in rendered.values() if "ScaledObject" in text for each in yaml.safe_load_all(text)]
    triggers = [trigger for each in manifests if each for trigger in each["spec"]["triggers"]]
    return [trigger["metadata"]["query"].replace("[2m]", f"[{WINDOW}]") for trigger in triggers]


@asynccontextmanager
async def prometheus(folder: Path, node: str) -> AsyncIterator[httpx.AsyncClient]:
    """With the configuration of deploy/observability, but for addresses and times."""
    source = OBSERVABILITY / "prometheus"
    configuration = yaml.safe_load((source / "prometheus.yaml").read_text())
    configuration["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    configuration["scrape_configs"][0] |= {
        "static_configs": [{"targets": [node.removeprefix("http://")], "labels": TARGET}],
        "authorization": {"credentials": KEY},
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    shutil.copy(source / "alerts.yaml", folder)
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            yield http
    finally:
        process.terminate()
        await process.wait()


async def without_data(http: httpx.AsyncClient, queries: Sequence[str]) -> list[str]:
    missing = []
    for query in queries:
        answer = await http.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        if not answer.json()["data"]["result"]:
            missing.append(query)
    return missing


async def drive(http: httpx.AsyncClient, embedder: FakeEmbedder, reranker: FakeReranker, turn: int) -> None:
    """A bit of everything that the metrics are about, what goes wrong included."""
    texts = [{"id": f"{name}-{turn}", "text": f"{name} burns at {turn} degrees."} for name in ("kiln", "oven")]
    broken = {"id": f"broken-{turn}", "content_base64": "JVBERi0xLjcK", "media_type": "application/pdf"}
    (await http.post("/ingest", json={"documents": [*texts, broken], "wait": True})).raise_for_status()
    (await http.post("/search", json={"query": "how hot is the kiln?"})).raise_for_status()
    reranker.fail_with = EngineDead("gone")
    (await http.post("/search", json={"query": "how hot is the kiln?"})).raise_for_status()
    embedder.fail_with = EngineDead("gone")
    assert (await http.post("/search", json={"query": "how hot is the kiln?", "mode": "dense"})).status_code == 503
    embedder.fail_with = reranker.fail_with = None
    # One search too many for its bound, of several at once.
    searches = [http.post("/search", json={"query": "kiln", "candidates": 100}) for _ in range(4)]
    assert {answer.status_code for answer in await asyncio.gather(*searches)} == {200, 429}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus, of Debian's package of that name")
async def test_every_query_finds_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "read_loads", lambda: [LOAD])
    embedder, reranker = FakeEmbedder(), FakeReranker()
    components = replace(real_but_for(embedder, reranker, tmp_path / "node"), devices=Devices([Device("0", Gate())]))
    settings = Settings(
        data_dir=tmp_path / "node", models="minilm", selftest_margin=False, max_candidates_in_flight=150, api_keys=KEY
    )  # type: ignore[arg-type]
    (tmp_path / "node").mkdir()
    (tmp_path / "prometheus").mkdir()
    scalers = [*adapter_queries(), *keda_queries()]
    assert len(scalers) == 4  # of searches and of the queue, for each kind of autoscaler
    queries = [*dashboard_queries(), *alert_queries(), *scalers]
    async with (
        listening(create_app(settings, components)) as node,
        httpx.AsyncClient(base_url=node.url, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as http,
        prometheus(tmp_path / "prometheus", node.url) as monitoring,
    ):
        missing, turn = queries, 0
        async with asyncio.timeout(120):
            while missing:
                await drive(http, embedder, reranker, turn := turn + 1)
                await asyncio.sleep(1)
                try:
                    missing = await without_data(monitoring, queries)
                except httpx.TransportError:
                    continue  # it has not begun to listen
                if turn > 40:
                    break
        assert missing == []
        rules = (await monitoring.get("/api/v1/rules")).json()["data"]["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules if rule["health"] != "ok"} == {}
        for path in ("/stray", "/documents/stray", "/jobs/stray", "/collections/stray", "/search?stray=stray"):
            await http.get(path, headers={"X-Request-ID": "stray"})
        assert "stray" not in (await http.get("/metrics")).text  # no label holds what a caller sent
