"""The Helm chart: what it renders is valid, fits together, and fits the service."""

import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import Chart, lint

from app.cli.node.worker import require_shared_parts
from app.settings import PREFIX, Settings, load_settings
from tests.unit.deploy.conftest import CHART, DEPLOY, Manifest, value_set

VERSIONS = ("1.27", "1.31")
"""The oldest that Chart.yaml allows, and a newer one."""
SETS = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
OTHERS = {
    **dict.fromkeys(("ServiceMonitor", "PodMonitor"), "monitoring.coreos.com/v1"),
    "ScaledObject": "keda.sh/v1alpha1",
}
"""Kinds of the Prometheus operator and of KEDA, whose schemas are not Kubernetes's."""
SECRET = {
    "TANDEM_DATABASE_URL": "postgresql://tandem:secret@postgres/tandem",
    "TANDEM_MILVUS_URI": "http://milvus:19530",
}


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Name, template of the pod, and its owner."""
    for each in of_kind(manifests, "StatefulSet", "Deployment", "Job"):
        yield each["metadata"]["name"], each["spec"]["template"], each


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def environment(container: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", SECRET.get(each["name"], "secret")) for each in container["env"]}


def render(chart: Chart, generate: ModuleType, values: Mapping[str, Any], release: str = "tandem") -> list[Manifest]:
    return list(yaml.load_all(generate.manifests(chart, values, release=release), yaml.CSafeLoader))


@pytest.mark.parametrize("name", SETS)
def test_manifests_are_valid(name: str, rendered: Mapping[str, list[Manifest]]) -> None:
    for manifest in rendered[name]:
        if manifest["kind"] in OTHERS:
            assert manifest["apiVersion"] == OTHERS[manifest["kind"]]
        else:
            for version in VERSIONS:
                kubernetes_validate.validate(manifest, version, strict=True)


def test_the_chart_has_no_faults_that_helm_lint_finds() -> None:
    assert f">={VERSIONS[0]}." in (CHART / "Chart.yaml").read_text()
    for name in SETS:
        assert lint(CHART, values=value_set(name), strict=True)["errors"] == []


@pytest.mark.parametrize("name", SETS)
def test_names_selectors_and_volumes_fit_together(name: str, rendered: Mapping[str, list[Manifest]]) -> None:
    manifests = rendered[name]
    keys = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(keys) == len(set(keys))
    labels = {owner: template["metadata"]["labels"] for owner, template, _ in pods(manifests)}
    for each in manifests:
        spec = each["spec"]
        wanted = spec.get("selector") if each["kind"] == "Service" else spec.get("selector", {}).get("matchLabels")
        if wanted and each["kind"] != "ServiceMonitor":
            found = [owner for owner, has in labels.items() if wanted.items() <= has.items()]
            assert found, each["metadata"]["name"]
            assert not any("migrate" in owner or "models" in owner for owner in found), each["metadata"]["name"]
        if target := spec.get("scaleTargetRef"):
            assert (target["kind"], target["name"]) in keys
    for _, template, owner in pods(manifests):
        claims = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        assert not claims & volumes
        for container in containers(template):
            assert {mount["name"] for mount in container["volumeMounts"]} <= claims | volumes


@pytest.mark.parametrize("name", SETS)
def test_pods_are_restricted_and_have_no_service_links(name: str, rendered: Mapping[str, list[Manifest]]) -> None:
    for _, template, _ in pods(rendered[name]):
        spec = template["spec"]
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in containers(template):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"/tmp", "/home/tandem"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("name", SETS)
def test_each_process_accepts_its_environment(
    name: str, rendered: Mapping[str, list[Manifest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = 0
    for _, template, _ in pods(rendered[name]):
        for container in containers(template):
            with monkeypatch.context() as patch:
                for variable, value in environment(container).items():
                    assert not variable.startswith(PREFIX) or variable[len(PREFIX) :].lower() in Settings.model_fields
                    patch.setenv(variable, value)
                settings = load_settings()
            checked += 1
            if container["args"] == ["worker"]:
                require_shared_parts(settings)
                (port,) = container["ports"]
                assert port["containerPort"] == settings.worker_metrics_port
                assert settings.public_metrics  # a probe does not come by the loopback
            if container["args"] == ["serve"]:
                assert settings.requires_keys
                assert settings.port == 8080
                (port,) = container["ports"]
                assert port["containerPort"] == settings.port
                least = 5 + settings.drain_seconds + 15
                assert template["spec"]["terminationGracePeriodSeconds"] > least
    assert checked


@pytest.mark.parametrize("release", ["tandem", "retrieval", "a" * 53])
def test_no_service_sets_a_variable_of_ours(
    release: str, chart: Chart, generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes sets them in all pods of the namespace whose enableServiceLinks is true, those of others too."""
    manifests = render(chart, generate, value_set("cluster"), release)
    assert all(len(each["metadata"]["name"]) <= 63 for each in manifests)
    assert all(len(each["metadata"]["name"]) <= 52 for each in of_kind(manifests, "StatefulSet"))  # and a hash
    for service in of_kind(manifests, "Service"):
        name = service["metadata"]["name"].upper().replace("-", "_")
        for variable, value in ((f"{name}_PORT", "tcp://10.0.0.1:8080"), (f"{name}_SERVICE_HOST", "10.0.0.1")):
            assert variable.removeprefix(PREFIX).lower() not in Settings.model_fields
            monkeypatch.setenv(variable, value)
    load_settings()


def test_no_probe_ends_a_start_that_downloads(rendered: Mapping[str, list[Manifest]]) -> None:
    probed = []
    for manifests in rendered.values():
        for _, template, _ in pods(manifests):
            for container in template["spec"]["containers"]:
                if container["args"] in (["serve"], ["worker"]):
                    (port,) = container["ports"]
                    for probe in ("startupProbe", "livenessProbe"):
                        assert container[probe]["httpGet"] == {"path": "/health/live", "port": port["name"]}
                    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": port["name"]}
                    probed.append(container["args"][0])
    assert {"serve", "worker"} == set(probed)


def test_the_queue_is_shared_and_counted_once(rendered: Mapping[str, list[Manifest]]) -> None:
    """Every pod reports the whole queue: an average over pods would stay as it is however many pods are added."""
    found = 0
    for scaler in of_kind(rendered["cluster"], "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if "queue" in str(metric):
                assert metric["type"] == "External"
                found += 1
    for scaler in of_kind(rendered["keda"], "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if "queue" in trigger["metadata"]["query"]:
                assert re.match(r"max\(", trigger["metadata"]["query"])
                assert trigger["metricType"] == "AverageValue"
                found += 1
    assert found == 2


def test_devices_claims_and_jobs_follow_the_values(rendered: Mapping[str, list[Manifest]]) -> None:
    def node(name: str) -> Manifest:
        (found,) = of_kind(rendered[name], "StatefulSet")
        return found

    def limits(name: str) -> Mapping[str, object]:
        found: Mapping[str, object] = node(name)["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        return found

    def claims(name: str) -> list[str]:
        return [claim["metadata"]["name"] for claim in node(name)["spec"]["volumeClaimTemplates"]]

    assert limits("one-gpu")["nvidia.com/gpu"] == 1
    assert limits("ascend")["huawei.com/Ascend910"] == 1
    assert node("ascend")["spec"]["template"]["spec"]["securityContext"]["supplementalGroups"] == [1000]
    assert not [name for name in limits("cpu") if "/" in name]
    assert claims("one-gpu") == ["data", "models"]
    assert claims("air-gapped") == ["data"]
    mounts = node("air-gapped")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in mounts
    assert "replicas" not in node("cluster")["spec"]  # the autoscaler's
    jobs = {each["metadata"]["name"]: each for each in of_kind(rendered["cluster"], "Job")}
    hook = jobs["tandem-migrate"]["metadata"]["annotations"]["helm.sh/hook"]
    assert hook == "pre-install,pre-upgrade"
    (pull,) = (each for name, each in jobs.items() if name.startswith("tandem-models-"))
    assert pull["spec"]["template"]["spec"]["containers"][0]["args"] == ["models", "pull", "qwen3-0.6b"]
    assert not of_kind(rendered["model-servers"], "StatefulSet")
    assert not of_kind(rendered["one-gpu"], "Job")


SHARED: Manifest = {
    "secretKeys": ["TANDEM_API_KEYS", "TANDEM_ENGINE_API_KEY", "TANDEM_DATABASE_URL"],
    "settings": {"MILVUS_URI": "http://milvus:19530", "BLOBS": "s3://bucket/originals"},
    "replicas": 2,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accelerator": {"kind": "tpu"}}, "accelerator"),
        ({"settings": {"MODLES": "e5"}}, "MODLES"),
        ({"settings": {"API_KEYS": "secret"}}, "API_KEYS"),
        ({"settings": {"PORT": 80}}, "PORT"),
        ({"secretKeys": ["API_KEYS"]}, "secretKeys"),
        ({"extraEnv": [{"name": "TANDEM_MODELS", "value": "e5"}]}, "extraEnv"),
        ({"model": {}}, "model"),
        ({"existingSecret": ""}, "secretKeys names TANDEM_API_KEYS"),
        ({"secretKeys": []}, "ALLOW_KEYLESS"),
        ({"secretKeys": [], "settings": {"ALLOW_KEYLESS": True}}, "ALLOWED_HOSTS"),
        ({**SHARED, "secretKeys": ["TANDEM_API_KEYS"]}, "TANDEM_DATABASE_URL"),
        ({**SHARED, "settings": {"MILVUS_URI": None}}, "MILVUS_URI"),
        ({**SHARED, "settings": {"BLOBS": "/data/originals"}}, "originals.existingClaim"),
        ({**SHARED, "originals": {"existingClaim": "originals"}}, "two places"),
        (
            {**SHARED, "secretKeys": SHARED["secretKeys"][::2], "workers": {"enabled": True}},
            "ENGINE_API_KEY",
        ),
        ({"autoscaling": {"kind": "keda"}}, "TANDEM_DATABASE_URL"),
        ({**SHARED, "autoscaling": {"kind": "hpa", "minReplicas": 5}}, "minReplicas"),
        ({**SHARED, "autoscaling": {"kind": "hpa", "workers": {"minReplicas": 0}}}, "keda"),
        ({**SHARED, "api": {"enabled": True}}, "EMBED_URL"),
        ({"models": {"pull": "job"}}, "models.claim"),
        ({"models": {"readOnly": True}}, "existingClaim"),
        ({"models": {"existingClaim": "weights", "readOnly": True, "pull": "init"}}, "read-only"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
        ({"ingress": {"enabled": True, "host": "search.example.com"}}, "ingress controller"),
        ({"service": {"type": "LoadBalancer"}}, "networkPolicy.from"),
        ({"terminationGracePeriodSeconds": 30}, "DRAIN_SECONDS"),
        ({"terminationGracePeriodSeconds": 60, "settings": {"DRAIN_SECONDS": 60}}, "DRAIN_SECONDS"),
    ],
)
def test_wrong_and_contradictory_values_are_refused(
    change: Mapping[str, Any], words: str, chart: Chart, generate: ModuleType
) -> None:
    values = {**change, "settings": {**SHARED["settings"], **change["settings"]}} if "replicas" in change else change
    with pytest.raises(Exception, match=re.escape(words)):
        render(chart, generate, values)


def test_shared_values_are_enough_for_several_nodes(chart: Chart, generate: ModuleType) -> None:
    assert of_kind(render(chart, generate, {**SHARED, "workers": {"enabled": True}}), "Deployment")


@pytest.mark.parametrize(
    ("settings", "pulled"),
    [
        ({"MODELS": "qwen3-4b"}, ["qwen3-4b"]),
        ({"EMBED_MODEL": "Qwen/A", "RERANK_MODEL": "Qwen/B"}, ["Qwen/A", "Qwen/B"]),
        ({"MODELS": "qwen3-4b", "RERANK_MODEL": "Qwen/B"}, ["qwen3-4b", "Qwen/B"]),
        ({"EMBED_MODEL": "/models/a", "RERANK_MODEL": "/models/b"}, []),
    ],
)
def test_what_is_pulled_is_what_is_served(
    settings: Mapping[str, str], pulled: list[str], chart: Chart, generate: ModuleType
) -> None:
    values: Manifest = {"settings": {"MODELS": None, **settings}}
    (node,) = of_kind(render(chart, generate, values | {"models": {"pull": "init"}}), "StatefulSet")
    starting = node["spec"]["template"]["spec"].get("initContainers", [])
    assert [container["args"] for container in starting] == [["models", "pull", name] for name in pulled]
    jobs = of_kind(render(chart, generate, values | {"models": {"claim": "shared", "pull": "job"}}), "Job")
    assert [each["args"][2] for job in jobs for each in job["spec"]["template"]["spec"]["containers"]] == pulled


def test_prometheus_reaches_workers_only_if_it_is_to(chart: Chart, generate: ModuleType) -> None:
    values = value_set("cluster")
    manifests = render(chart, generate, values)
    (monitor,) = of_kind(manifests, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (worker,) = [template for name, template, _ in pods(manifests) if name == "tandem-worker"]
    (container,) = worker["spec"]["containers"]
    assert endpoint["port"] in {port["name"] for port in container["ports"]}
    (policy,) = of_kind(manifests, "NetworkPolicy")
    assert endpoint["port"] in {port["port"] for port in policy["spec"]["ingress"][0]["ports"]}
    values["serviceMonitor"] = {**values["serviceMonitor"], "workers": False}
    without = render(chart, generate, values)
    assert not of_kind(without, "PodMonitor")
    (policy,) = of_kind(without, "NetworkPolicy")
    assert "metrics" not in {port["port"] for port in policy["spec"]["ingress"][0]["ports"]}


def test_the_ingress_leads_to_the_service(rendered: Mapping[str, list[Manifest]]) -> None:
    (ingress,) = of_kind(rendered["model-servers"], "Ingress")
    (backend,) = (path["backend"]["service"] for path in ingress["spec"]["rules"][0]["http"]["paths"])
    services = {each["metadata"]["name"]: each for each in of_kind(rendered["model-servers"], "Service")}
    assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
    size = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]
    assert size == f"{Settings.model_fields['max_body_mb'].default}m"


def test_numbers_are_written_as_settings_read_them(rendered: Mapping[str, list[Manifest]]) -> None:
    (node,) = of_kind(rendered["cluster"], "StatefulSet")
    found = environment(node["spec"]["template"]["spec"]["containers"][0])
    assert found["TANDEM_MAX_QUEUED"] == "1000000"
    assert found["TANDEM_LOG_JSON"] == "true"
    assert found["TANDEM_WORKERS"] == "0"  # the workers ingest


def test_manifests_readme_and_schema_are_those_that_the_generator_writes(generate: ModuleType) -> None:
    for path, text in generate.files().items():
        assert path.read_text() == text, "run deploy/helm/generate.py"


def test_every_setting_can_be_given_in_one_place(generate: ModuleType) -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]
    settings = set(schema["settings"]["propertyNames"]["enum"])
    secrets = {name.removeprefix(PREFIX) for name in schema["secretKeys"]["items"]["enum"]}
    hidden = {name.upper() for name in generate.FIXED | generate.INTERNAL}
    assert settings | secrets | hidden == {name.upper() for name in Settings.model_fields}
    assert settings & secrets == {"MILVUS_URI"}
    assert {"API_KEYS", "DATABASE_URL", "S3_SECRET_KEY", "ENGINE_API_KEY", "MILVUS_TOKEN"} <= secrets


def test_every_value_is_explained_and_in_the_schema(generate: ModuleType) -> None:
    def leaves(values: Mapping[str, Any], schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
        assert schema.get("additionalProperties") is False, path
        for name, value in values.items():
            assert name in schema["properties"], path + name
            inner = schema["properties"][name]
            if isinstance(value, dict) and value and "properties" in inner:
                yield from leaves(value, inner, f"{path}{name}.")
            else:
                yield path + name

    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(leaves(values, schema)) <= {name for name, _, _ in generate.rows()}


def test_notes_name_what_is_there(chart: Chart) -> None:
    notes = chart.render(values=value_set("one-gpu"), name="retrieval", namespace="default")
    (text,) = (text for name, text in notes.items() if name.endswith("NOTES.txt"))
    assert "service/retrieval-tandem-http" in text
    assert "data-retrieval-tandem-node-0" in text


def test_the_operator_s_milvus_is_that_of_compose_and_where_the_page_says() -> None:
    milvus = yaml.safe_load((DEPLOY / "kubernetes" / "milvus.yaml").read_text())
    assert (milvus["apiVersion"], milvus["kind"]) == ("milvus.io/v1beta1", "Milvus")
    compose = yaml.safe_load((DEPLOY / "compose" / "server.yaml").read_text())
    assert milvus["spec"]["components"]["image"] == compose["services"]["milvus"]["image"]
    name, namespace = milvus["metadata"]["name"], milvus["metadata"]["namespace"]
    for language in ("en", "zh"):
        page = (DEPLOY / "docs" / language / "kubernetes.md").read_text()
        assert f"settings.MILVUS_URI: http://{name}-milvus.{namespace}.svc:19530" in page
        assert f"-n {namespace} wait --for=condition=MilvusReady milvus/{name}" in page


def test_the_volume_that_a_site_without_internet_fills_is_the_one_its_value_set_mounts() -> None:
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "models-volume.yaml").read_text()))
    for manifest in manifests:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    claim, pod = manifests
    values = value_set("air-gapped")
    assert claim["metadata"]["name"] == values["models"]["existingClaim"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == f"{values['image']['repository']}:{values['image']['tag']}"
    assert pod["spec"]["imagePullSecrets"] == values["imagePullSecrets"]
    for language in ("en", "zh"):
        page = (DEPLOY / "docs" / language / "operations.md").read_text()
        mounted = container["volumeMounts"][0]["mountPath"]
        assert f"kubectl cp models/. {pod['metadata']['name']}:{mounted}" in page
