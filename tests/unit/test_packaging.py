"""What is shipped and what is pinned, read from the files and from the wheel itself."""

import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import run
from sys import executable
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from retrieval.stores.milvus_lite.server import VERSION

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGIN = ROOT / "retrieval" / "langchain-plugin"
PLUGIN_PROJECT: dict[str, Any] = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ("cpu", "cuda", "ascend", "dev")
CUDA_BUILDS = ("torchvision", "torchaudio", "torchcodec")


def pins(lock: str) -> Iterator[Requirement]:
    for line in (ROOT / "deploy" / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith(("#", " ")):
            yield Requirement(line.removesuffix(" \\"))


def pinned(*locks: str) -> dict[str, set[Version]]:
    versions: dict[str, set[Version]] = {}
    for lock in locks:
        for pin in pins(lock):
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            versions.setdefault(canonicalize_name(pin.name), set()).add(Version(specifier.version))
    return versions


def members(group: str) -> list[str]:
    """Those of the groups that it includes among them."""
    found: list[str] = []
    for entry in PYPROJECT["dependency-groups"][group]:
        found += [entry] if isinstance(entry, str) else members(entry["include-group"])
    return found


def requirements(group: str) -> list[Requirement]:
    named = PYPROJECT["project"]["dependencies"] + members(group)
    asked = [*map(Requirement, named), *map(Requirement, PLUGIN_PROJECT["dependencies"])]
    return [
        requirement
        for requirement in asked
        if requirement.name != PLUGIN_PROJECT["name"] and (not requirement.marker or requirement.marker.evaluate())
    ]


def test_milvus_lite_is_pinned_to_the_release_whose_functions_are_replaced() -> None:
    (lite,) = (each for each in map(Requirement, PYPROJECT["project"]["dependencies"]) if each.name == "milvus-lite")
    assert str(lite.specifier) == f"=={VERSION}"


@pytest.mark.parametrize("group", LOCKS)
def test_locks_satisfy_what_pyproject_asks(group: str) -> None:
    versions = pinned("cpu", "dev") if group == "dev" else pinned(group)
    for requirement in requirements(group):
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement} is not in the lock file: run `make lock`"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in found), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_versions_only(lock: str) -> None:
    for pin in pins(lock):
        assert pin.url is None
    text = (ROOT / "deploy" / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|^-|^/|\s/\w+/|file:|@", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_the_hashes_of_its_files(lock: str) -> None:
    text = (ROOT / "deploy" / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[^\s#])", text[text.index("==") :])
    without = [block.split("==")[0] for block in blocks if not re.search(r"\\\n    --hash=sha256:[0-9a-f]{64}", block)]
    assert without == []


def test_setup_installs_from_lock_files_with_hashes_only() -> None:
    script = (ROOT / "deploy" / "setup.sh").read_text(encoding="utf-8")
    installs = re.findall(r"^.*\bpip install .*$", script, re.MULTILINE)
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-build-isolation --editable" in line for line in installs)


def test_the_server_asks_for_the_plugin_beside_it_which_no_lock_file_names() -> None:
    (asked,) = [each for each in map(Requirement, PYPROJECT["project"]["dependencies"]) if "tandem" in each.name]
    assert asked.name == PLUGIN_PROJECT["name"]
    assert asked.specifier.contains(PLUGIN_PROJECT["version"])
    assert PLUGIN_PROJECT["name"] not in pinned(*LOCKS)


def test_the_plugin_needs_little_and_any_of_it_may_be_had_without_llama_index() -> None:
    assert {Requirement(each).name for each in PLUGIN_PROJECT["dependencies"]} == {"httpx", "langchain-core"}
    (extra,) = map(Requirement, PLUGIN_PROJECT["optional-dependencies"]["llama-index"])
    assert extra.name == "llama-index-core"
    assert all(extra.specifier.contains(version) for version in pinned("dev")[extra.name])


def test_the_plugin_has_the_licence_of_all() -> None:
    assert (PLUGIN / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_dev_adds_to_cpu_without_changing_it() -> None:
    assert not pinned("cpu").keys() & pinned("dev").keys()


@pytest.mark.parametrize("package", CUDA_BUILDS)
def test_packages_that_break_vllm_beside_a_cpu_torch_stay_out(package: str) -> None:
    assert find_spec(package) is None, f"{package} is a CUDA build here and breaks `import vllm`: uninstall it"
    assert package not in pinned("cpu", "dev")


@pytest.mark.parametrize("lock", ["cpu", "cuda", "ascend"])
def test_what_serves_needs_no_sentence_transformers(lock: str) -> None:
    assert "sentence-transformers" not in pinned(lock)


def test_the_cpu_lock_holds_the_cpu_torch_and_the_others_do_not() -> None:
    assert {version.local for version in pinned("cpu")["torch"]} == {"cpu"}
    assert {version.local for version in pinned("cuda", "ascend")["torch"]} == {None}


def test_the_wheel_is_kept_off_public_indexes() -> None:
    assert "Private :: Do Not Upload" in PYPROJECT["project"]["classifiers"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = run(
        [executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    (built,) = folder.glob("*.whl")
    with ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"app", "ingestion", "retrieval"}
    assert not [name for name in wheel if name.startswith("retrieval/langchain-plugin/")]


def test_the_wheel_holds_every_file_of_the_packages(wheel: list[str]) -> None:
    """Migrations, templates and other data are easily forgotten: no import misses them."""
    files = {
        str(path.relative_to(ROOT))
        for package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in files if not name.startswith("retrieval/langchain-plugin/")} <= set(wheel)


def test_the_wheel_holds_its_licence(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
