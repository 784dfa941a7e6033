"""What the files under deploy/ name exists in the service."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from app.cli.main import app as cli
from app.cli.node.serve import STOP_SECONDS
from app.settings import PREFIX, Settings, load_settings
from app.telemetry.metrics import Metrics
from retrieval.device.devices import Device, Devices
from retrieval.device.gate import Gate
from tests.support.nodes.api import api
from tests.unit.deploy.conftest import DEPLOY
from tests.unit.deploy.programs import complaints

FOLDERS = ("docker", "compose", "helm", "kubernetes", "systemd", "ci", "nginx", "observability")
SUFFIXES = (".yaml", ".Dockerfile", ".service", ".tpl", ".txt", ".md", ".sh", ".conf", ".toml")
YAMLLINT = "{extends: default, rules: {document-start: disable, line-length: {max: 160}}}"


@pytest.fixture(scope="module")
def texts() -> Mapping[Path, str]:
    found = (path for folder in FOLDERS for path in (DEPLOY / folder).rglob("*") if path.suffix in SUFFIXES)
    return {path: path.read_text() for path in found}


def test_variables_are_settings(texts: Mapping[Path, str]) -> None:
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    words = re.compile(r"\bTANDEM_[A-Z0-9_]*[A-Z0-9]\b")
    named = {(path.name, word) for path, text in texts.items() for word in words.findall(text)}
    assert len(named) > 40
    assert {each for each in named if each[1] not in known} == set()


def test_paths_are_routes(texts: Mapping[Path, str]) -> None:
    routes = {getattr(route, "path", "") for route in api().routes}
    probes = {path for text in texts.values() for path in re.findall(r"/health/\w+|/metrics\b", text)}
    assert {"/health/live", "/health/ready", "/metrics"} <= probes <= routes


async def test_metrics_exist_or_are_made_by_the_adapter(texts: Mapping[Path, str]) -> None:
    metrics = Metrics()
    metrics.watch(Devices([Device("0", Gate())]))
    families = {family.name: family for family in metrics.registry.collect()}
    suffixes = {"histogram": ("_sum", "_count", "_bucket"), "counter": ("_total",)}
    known = set(families) | {name + end for name, each in families.items() for end in suffixes.get(each.type, ())}
    rules = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"]
    made = {rule["name"]["as"] for kind in ("custom", "external") for rule in rules[kind]}
    used = {word for text in texts.values() for word in re.findall(r"\btandem_[a-z_]+[a-z]\b", text)}
    assert used - made <= known
    manifests = (DEPLOY / "kubernetes" / "cluster.yaml").read_text()
    assert set(re.findall(r"name: (tandem_\w+)", manifests)) == made


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.name)
def test_units_run_commands_that_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text()
    (command,) = re.findall(r"^ExecStart=\S+/tandem (\w+)$", text, re.MULTILINE)
    assert command in get_command(cli).commands
    for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE):
        for variable, _, value in (each.partition("=") for each in line.split()):
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TANDEM_NODE_URL", "http://node:8080")
    settings = load_settings()
    (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(patience) > settings.drain_seconds + STOP_SECONDS
    if command == "worker":
        assert settings.engine == "node"


def test_yaml_is_tidy() -> None:
    files = [path for folder in FOLDERS for path in (DEPLOY / folder).rglob("*.yaml") if "templates" not in path.parts]
    assert len(files) > 10
    assert complaints("yamllint", "--strict", "-d", YAMLLINT, *files) == ""
