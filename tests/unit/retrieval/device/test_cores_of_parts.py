"""Cores of a CPU for the parts of a model."""

from pathlib import Path

import pytest

from retrieval.engines.vllm.options import EngineOptions, cores_of_parts, engine_environment
from retrieval.errors import ConfigurationError


def options(parts: int, cores: str | None = None) -> EngineOptions:
    return EngineOptions("m", Path("m"), "embed", 512, 0.2, tensor_parallel=parts, cpu_cores=cores)


@pytest.mark.parametrize(
    ("cores", "parts", "shared_out"),
    [
        ([0, 1, 2, 3], 1, [[0, 1, 2, 3]]),
        ([0, 1, 2, 3], 2, [[0, 1], [2, 3]]),
        ([4, 6, 9], 2, [[4], [6, 9]]),
        ([0, 1, 2, 3, 4, 5, 6], 3, [[0, 1], [2, 3], [4, 5, 6]]),
        ([3, 5], 2, [[3], [5]]),
    ],
)
def test_every_core_is_one_part_s(cores: list[int], parts: int, shared_out: list[list[int]]) -> None:
    assert cores_of_parts(parts, cores) == shared_out


def test_more_parts_than_cores_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"TANDEM_TENSOR_PARALLEL=3: .* and 2 can be used"):
        cores_of_parts(3, [0, 1])


def test_vllm_is_told_the_cores_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 1, 2})
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter([Path("node0")]))
    assert engine_environment(options(1))["VLLM_CPU_OMP_THREADS_BIND"] == "1,2,3"
    assert engine_environment(options(2))["VLLM_CPU_OMP_THREADS_BIND"] == "1|2,3"
    assert engine_environment(options(2, "0|5"))["VLLM_CPU_OMP_THREADS_BIND"] == "0|5"
    monkeypatch.setattr("pathlib.Path.glob", lambda self, pattern: iter([Path("node0"), Path("node1")]))
    assert engine_environment(options(2))["VLLM_CPU_OMP_THREADS_BIND"] == "auto"
    assert engine_environment(options(3))["VLLM_CPU_OMP_THREADS_BIND"] == "1|2|3"
