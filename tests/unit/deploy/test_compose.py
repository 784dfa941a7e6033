"""Compose files: of the specification, and what they set is accepted by the service."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli.node.worker import require_shared_parts
from app.settings import Settings, load_settings
from tests.unit.deploy.conftest import DEPLOY
from tests.unit.deploy.programs import complaints

FOLDER = DEPLOY / "compose"
GIVEN = {
    "POSTGRES_PASSWORD": "secret",
    "MINIO_PASSWORD": "secret-of-minio",
    "TANDEM_API_KEYS": "key",
    "TANDEM_ENGINE_API_KEY": "key",
}
"""What a user puts into .env."""


class Loader(yaml.SafeLoader):
    """Knows Compose's tag for what an overlay takes away."""


Loader.add_constructor("!reset", lambda loader, node: None)


def overlay(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = yaml.load((FOLDER / f"{name}.yaml").read_text(), Loader)
    return found


def service(name: str, of: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = overlay(of)["services"].get(name, {})
    return found


def interpolate(value: object) -> str:
    return re.sub(
        r"\$\{(\w+)(?::([-?])([^}]*))?\}",
        lambda match: GIVEN.get(match[1], match[3] if match[2] == "-" else ""),
        str(value).lower() if isinstance(value, bool) else str(value),
    )


def test_files_are_of_the_specification(tmp_path: Path) -> None:
    files = [tmp_path / path.name for path in sorted(FOLDER.glob("*.yaml"))]
    assert len(files) >= 6
    for path in files:
        path.write_text((FOLDER / path.name).read_text().replace("!reset ", ""))  # the schema is for what is merged
    assert complaints("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files) == ""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_overlays_mount_depend_on_and_store_exists(path: Path) -> None:
    services = {name for each in FOLDER.glob("*.yaml") for name in overlay(each.stem)["services"]}
    volumes = {name for each in FOLDER.glob("*.yaml") for name in overlay(each.stem).get("volumes", {})}
    for name, each in overlay(path.stem)["services"].items():
        assert set(each.get("depends_on", ())) <= services, name
        for volume in each.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("../"):
                assert (FOLDER / source).exists(), source
            elif not source.startswith(("/", "./")):  # ./tls is the user's
                assert source in volumes, source
        assert ":" in each.get("image", "node:"), name
        assert not each.get("image", "").endswith(":latest")


def test_two_nodes_share_all_but_their_own_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = service("tandem", "scale"), service("tandem-b", "scale")
    assert first["environment"] == second["environment"]
    assert first["ports"] is None  # nginx alone is reached from outside
    assert "ports" not in second
    for variable, value in second["environment"].items():
        monkeypatch.setenv(variable, interpolate(value))
    settings = load_settings()
    assert settings.database_url
    assert settings.milvus_uri
    assert settings.blobs == "s3://tandem/originals"
    base = service("tandem", "compose")
    for hardening in ("read_only", "tmpfs", "cap_drop", "security_opt", "shm_size", "stop_grace_period"):
        assert second[hardening] == base[hardening]
    template = (FOLDER / "../nginx/tandem.conf.template").read_text()
    aliases = [name for each in (first, second) for name in each["networks"]["default"]["aliases"]]
    upstream = set(re.findall(r"^ +server (\S+):8080", template, re.MULTILINE))
    assert upstream == set(aliases) - {"node"}  # by which Prometheus finds them all


def test_a_worker_shares_all_with_its_node_and_answers_its_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = service("worker", "workers")
    node = {**service("tandem", "compose")["environment"]}
    for name in ("server", "workers"):
        node |= service("tandem", name)["environment"]
    for shared in ("TANDEM_MODELS", "TANDEM_MILVUS_URI", "TANDEM_DATABASE_URL", "TANDEM_BLOBS"):
        assert worker["environment"][shared] == node[shared]
    assert set(worker["volumes"]) == set(service("tandem", "compose")["volumes"])
    for hardening in ("read_only", "tmpfs", "cap_drop", "security_opt", "shm_size", "stop_grace_period"):
        assert worker[hardening] == service("tandem", "compose")[hardening]
    with monkeypatch.context() as patch:
        for variable, value in (node | {"TANDEM_MODELS": "e5"}).items():
            patch.setenv(variable, interpolate(value))
        assert load_settings().workers == 0
    for variable, value in (worker["environment"] | {"TANDEM_MODELS": "e5"}).items():
        monkeypatch.setenv(variable, interpolate(value))
    settings = load_settings()
    require_shared_parts(settings)
    assert f"http://127.0.0.1:{settings.worker_metrics_port}/health/live" in worker["healthcheck"]["test"][-1]


def test_prometheus_finds_every_node_and_may_read() -> None:
    content = yaml.safe_load(overlay("observability")["configs"]["prometheus"]["content"])
    job, of_workers = content["scrape_configs"]
    (found,), (workers,) = job["dns_sd_configs"], of_workers["dns_sd_configs"]
    nodes = [service("tandem", "observability"), service("tandem", "scale"), service("tandem-b", "scale")]
    for node in nodes:
        assert set(found["names"]) <= set(node["networks"]["default"]["aliases"])
        assert node["environment"]["TANDEM_PUBLIC_METRICS"] == "true"
    assert found["port"] == Settings.model_fields["port"].default
    worker = service("worker", "workers")["environment"]  # its containers are found by the service's name
    assert (workers["names"], str(workers["port"])) == (["worker"], worker["TANDEM_WORKER_METRICS_PORT"])
    assert worker["TANDEM_PUBLIC_METRICS"] == "true"


OVERLAYS = [
    [],
    ["cuda"],
    ["ascend"],
    ["server"],
    ["server", "cuda"],
    ["server", "ascend"],
    ["observability"],
    ["server", "cuda", "observability", "scale"],
]


@pytest.mark.parametrize("overlays", OVERLAYS, ids="+".join)
def test_the_service_accepts_its_environment(overlays: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, Any] = {}
    for overlay in ["compose", *overlays]:
        environment |= service("tandem", overlay).get("environment", {})
    for variable, value in environment.items():
        monkeypatch.setenv(variable, interpolate(value))
    settings = load_settings()
    assert settings.requires_keys
    assert (settings.milvus_uri is not None) == (settings.database_url is not None) == ("server" in overlays)
    assert settings.models == ("e5" if not {"cuda", "ascend"} & set(overlays) else "qwen3-0.6b")


def test_the_read_only_root_has_places_that_the_user_can_write_and_load_code_from() -> None:
    """A tmpfs belongs to root and is mounted noexec unless it is said otherwise: engines compile there."""
    base = service("tandem", "compose")
    assert base["read_only"] is True
    places = {each.partition(":")[0]: each.partition(":")[2].split(",") for each in base["tmpfs"]}
    assert {"uid=10001", "gid=10001", "exec"} <= set(places["/home/tandem"])
    assert {"mode=1777", "exec"} <= set(places["/tmp"])


def test_the_user_gets_the_group_of_the_npu_devices() -> None:
    ascend = service("tandem", "ascend")
    assert [interpolate(each) for each in ascend["group_add"]] == ["1000"]
    wanted = {"/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
    assert set(ascend["devices"]) == wanted
