"""Files that start the service on servers: checked by the tools of their kinds, and against the service itself."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart

from app.http.telemetry import Metrics
from app.main import create_app
from app.settings import PREFIX, Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "tandem"
VERSION = "1.31"
SETS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cluster": {
        "replicas": 3,
        "existingSecret": "tandem",
        "autoscaling": {"enabled": True},
        "serviceMonitor": {"enabled": True},
        "models": {"pull": True},
    },
    "ascend": {"accelerator": {"kind": "ascend", "count": 2}, "image": {"repository": "tandem", "tag": "ascend"}},
    "air-gapped": {"accelerator": {"kind": "none"}, "models": {"existingClaim": "weights"}},
}
PROGRAMS = Path(sys.executable).parent


def manifests(values: dict[str, Any]) -> list[dict[str, Any]]:
    with Chart.load(CHART) as chart:
        rendered = chart.render(values=values, name="tandem")
    texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def run(program: str, *arguments: str | Path) -> str:
    done = subprocess.run([PROGRAMS / program, *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cpu", "cuda", "ascend"])
def test_images_keep_the_rules(name: str) -> None:
    file = DEPLOY / "docker" / f"{name}.Dockerfile"
    assert run("hadolint", file) == ""
    text = file.read_text()
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert all(":" in base and not base.endswith(":latest") for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE))


def test_compose_files_are_of_the_specification() -> None:
    files = sorted((DEPLOY / "compose").glob("*.yaml"))
    assert len(files) >= 4
    assert run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files) == ""


@pytest.mark.parametrize("name", SETS)
def test_the_chart_s_manifests_are_valid(name: str) -> None:
    found = manifests(SETS[name])
    assert {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"} <= {each["kind"] for each in found}
    for manifest in found:
        if manifest["kind"] != "ServiceMonitor":  # of the Prometheus operator
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_devices_claims_and_keys_follow_the_values() -> None:
    def node(name: str) -> dict[str, Any]:
        return next(each for each in manifests(SETS[name]) if each["kind"] == "StatefulSet")["spec"]

    def container(name: str) -> dict[str, Any]:
        return node(name)["template"]["spec"]["containers"][0]

    assert container("defaults")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container("ascend")["resources"]["limits"]["huawei.com/Ascend910"] == 2
    assert not [name for name in container("air-gapped")["resources"]["limits"] if "/" in name]
    assert [claim["metadata"]["name"] for claim in node("air-gapped")["volumeClaimTemplates"]] == ["data"]
    assert container("cluster")["envFrom"] == [{"secretRef": {"name": "tandem"}}]
    assert "replicas" not in node("cluster")  # the autoscaler's
    assert node("cluster")["template"]["spec"]["initContainers"][0]["args"] == ["models", "pull", "qwen3-0.6b"]


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(Exception, match="accelerator"):
        manifests({"accelerator": {"kind": "tpu"}})
    with pytest.raises(Exception, match="terminationGracePeriodSeconds"):
        manifests({"terminationGracePeriodSeconds": 10})


def test_what_the_files_name_exists_in_the_service() -> None:
    texts = {
        path: path.read_text()
        for path in DEPLOY.rglob("*")
        if path.parent != DEPLOY
        and path.is_file()
        and (
            path.suffix in (".yaml", ".Dockerfile", ".service", ".tpl", ".txt")
            and path.parts[len(DEPLOY.parts)] in ("docker", "compose", "helm", "systemd")
        )
    }
    assert len(texts) > 10
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    named = {(path.name, word) for path, text in texts.items() for word in re.findall(r"\bTANDEM_[A-Z_]*[A-Z]\b", text)}
    assert {each for each in named if each[1] not in known} == set()
    settings = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    assert {f"TANDEM_{name}" for name in settings} <= known
    routes = {getattr(route, "path", "") for route in create_app(Settings()).routes}
    probes = {path for text in texts.values() for path in re.findall(r"/health/\w+|/metrics\b", text)}
    assert probes <= routes
    metrics = {each.name for each in Metrics().registry.collect()}
    used = {word for text in texts.values() for word in re.findall(r"\btandem_[a-z_]+[a-z]\b", text)}
    assert used <= metrics


def test_the_values_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() <= schema["properties"].keys()
    for name, value in values.items():
        if isinstance(value, dict) and schema["properties"][name].get("additionalProperties") is False:
            assert value.keys() == schema["properties"][name]["properties"].keys(), name
