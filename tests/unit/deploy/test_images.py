"""Dockerfiles: checked by hadolint, and against what they install."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from app.settings import load_settings
from tests.unit.deploy.conftest import DEPLOY
from tests.unit.deploy.programs import complaints

PROJECT = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
IMAGES = ["cpu", "cuda", "ascend"]


def dockerfile(name: str) -> Path:
    return DEPLOY / "docker" / f"{name}.Dockerfile"


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_the_rules(name: str) -> None:
    assert complaints("hadolint", dockerfile(name)) == ""
    text = dockerfile(name).read_text()
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\n.*/health/live", text, re.MULTILINE)
    assert all(":" in base and not base.endswith(":latest") for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert f'image.version="{PROJECT["project"]["version"]}"' in text


@pytest.mark.parametrize("name", IMAGES)
def test_images_install_as_make_setup_does(name: str) -> None:
    """By hash, torch's CPU build from its own index, and on an image that has vLLM only what is missing."""
    text = dockerfile(name).read_text()
    on_image = "--on-image " if name == "cuda" else ""  # ascend's lock is always installed so
    assert re.findall(r"deploy/setup\.sh .*?(?= \\| &&|$)", text) == [f"deploy/setup.sh {on_image}.venv {name}"]
    assert not re.search(r"\bpip3? +install\b", text)


def test_bases_have_the_engines_that_are_locked() -> None:
    def pin(group: str, package: str) -> str:
        names = [Requirement(each) for each in PROJECT["dependency-groups"][group] if isinstance(each, str)]
        (found,) = (each for each in names if each.name == package)
        return str(found.specifier).removeprefix("==")

    assert f"FROM vllm/vllm-openai:v{pin('cuda', 'vllm')}\n" in dockerfile("cuda").read_text()
    assert f"ARG BASE_TAG=v{pin('ascend', 'vllm-ascend')}\n" in dockerfile("ascend").read_text()


@pytest.mark.parametrize("name", IMAGES)
def test_variables_of_images_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in re.findall(r"\b(TANDEM_\w+)=(\S+)", dockerfile(name).read_text()):
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.log_json
    assert (settings.data_dir, settings.models_dir) == (Path("/data"), Path("/models"))


def test_the_ascend_image_keeps_cann_s_environment(tmp_path: Path) -> None:
    """The entry point of the base image would set it; ours has to."""
    script = DEPLOY / "docker" / "ascend-environment.sh"
    cann = tmp_path / "set_env.sh"
    cann.write_text("export ASCEND_HOME_PATH=/cann LD_LIBRARY_PATH=/cann/lib64:$LD_LIBRARY_PATH\n")
    there = tmp_path / "script.sh"
    there.write_text(script.read_text().replace("/usr/local/Ascend/ascend-toolkit/set_env.sh", str(cann)))
    command = f'source {there} && exec sh -c \'echo "$ASCEND_HOME_PATH $LD_LIBRARY_PATH $@"\' tandem "$@"'
    arguments = ["bash", "-c", command, "tandem", "serve"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env={})
    driver = "/usr/local/Ascend/driver/lib64"
    assert done.stdout.split() == ["/cann", f"{driver}:{driver}/common:{driver}/driver:/cann/lib64:", "serve"]
    entry = re.search(r"^ENTRYPOINT (.*)$", dockerfile("ascend").read_text(), re.MULTILINE)
    assert entry is not None
    assert f"source /opt/tandem/deploy/docker/{script.name} && exec tandem" in entry[1]


def test_the_workflow_builds_each_image() -> None:
    workflow = DEPLOY / "ci" / "images.yaml"
    assert complaints("actionlint", workflow) == ""
    assert complaints("check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow) == ""
    rows = yaml.safe_load(workflow.read_text())["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert {row["name"].partition("-")[0] for row in rows} == set(IMAGES)
    base = re.search(r"^ARG BASE_TAG=(\S+)$", dockerfile("ascend").read_text(), re.MULTILINE)
    assert base is not None
    assert {row["base"].removesuffix("-a3").removesuffix("-310p") for row in rows} == {"", base[1]}
