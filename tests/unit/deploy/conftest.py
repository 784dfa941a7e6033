"""The chart, rendered once for each of its value sets."""

from collections.abc import Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from helm_python import Chart

DEPLOY = Path(__file__).parents[3] / "deploy"
CHART = DEPLOY / "helm" / "tandem"
Manifest = dict[str, Any]


def value_set(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())
    return found


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    spec = spec_from_file_location("generate_chart", DEPLOY / "helm" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


@pytest.fixture(scope="session")
def rendered(chart: Chart, generate: ModuleType) -> Mapping[str, list[Manifest]]:
    """Manifests by the name of the value set."""
    sets = [path.stem for path in (CHART / "ci").glob("*.yaml")]
    return {name: list(yaml.load_all(generate.manifests(chart, value_set(name)), yaml.CSafeLoader)) for name in sets}
