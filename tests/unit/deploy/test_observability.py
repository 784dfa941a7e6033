"""Dashboard and alerts: as their generator and promtool have them, about metrics that exist, each alert with a section
in the operations page. That the queries find something is tested on a real Prometheus, in tests/integration/deploy."""

import json
import re
import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.telemetry.collectors import AdmissionCollector
from app.telemetry.metrics import Metrics
from retrieval.device.devices import Device, Devices
from retrieval.device.gate import Gate

DEPLOY = Path(__file__).parents[3] / "deploy"
OBSERVABILITY = DEPLOY / "observability"
GRAFANA, PROMETHEUS = OBSERVABILITY / "grafana", OBSERVABILITY / "prometheus"
ALERTS: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"][0]["rules"]


def panels() -> list[dict[str, Any]]:
    return list(json.loads((GRAFANA / "dashboard.json").read_text())["panels"])


def test_the_dashboard_is_what_its_script_writes() -> None:
    spec = spec_from_file_location("dashboard", GRAFANA / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    dashboard = module_from_spec(spec)
    spec.loader.exec_module(dashboard)
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), (
        "run deploy/observability/grafana/dashboard.py"
    )


def test_panels_neither_overlap_nor_share_an_id() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        squares = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not squares & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= squares
    assert len({panel["id"] for panel in panels()}) == len(panels())


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of Debian's package prometheus")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yaml"), ("check", "rules", "alerts.yaml"), ("test", "rules", "alerts-tests.yaml")],
    ids=" ".join,
)
def test_promtool_accepts_them(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_of_its_own() -> None:
    tested = {each["name"] for each in yaml.safe_load((PROMETHEUS / "alerts-tests.yaml").read_text())["tests"]}
    assert tested == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_alert_has_its_section_in_the_operations_page(language: str) -> None:
    page = (DEPLOY / "docs" / language / "operations.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (Tandem\w+)$", page, re.MULTILINE) == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook_url"] == f"deploy/docs/en/operations.md#{alert['alert'].lower()}"


async def test_they_name_metrics_that_exist_and_show_all() -> None:
    metrics = Metrics()
    metrics.watch(Devices([Device("0", Gate())]))
    metrics.watch_admissions(AdmissionCollector({}))
    kinds = {each.name: each.type for each in metrics.registry.collect()}
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "info": ("_info",)}
    known = {name + end: name for name, kind in kinds.items() for end in ends[kind]}
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    used = set(re.findall(r"\b(?:tandem|process)_\w+", " ".join((*queries, *(alert["expr"] for alert in ALERTS)))))
    assert used <= known.keys()
    unseen = kinds.keys() - {known[name] for name in used}
    assert {name for name in unseen if name.startswith("tandem_")} == {
        *("tandem_build", "tandem_http_refused", "tandem_work_in_flight_seconds"),
        *("tandem_mcp_calls", "tandem_mcp_call_seconds"),
    }
