import os
from pathlib import Path

import pytest

from retrieval.device.nvidia_smi import Gpu, parse_gpus, read_gpus

TOLD = """NVIDIA H200, 4, 143139
NVIDIA GeForce RTX 4090, 1250, 22832
"""


def test_what_programs_can_have() -> None:
    """The driver's own part is in neither figure: an H200 has 143,771 MiB, of which programs see 143,143."""
    assert parse_gpus(TOLD) == (
        Gpu("NVIDIA H200", 143_143 * 2**20, 4 * 2**20),
        Gpu("NVIDIA GeForce RTX 4090", 24_082 * 2**20, 1250 * 2**20),
    )


@pytest.mark.parametrize("told", ["", "NVIDIA GB10, [N/A], [N/A]\n", "No devices were found\n"])
def test_without_figures_there_is_nothing(told: str) -> None:
    assert parse_gpus(told) == ()


def nvidia_smi(folder: Path, script: str) -> None:
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_only_visible_devices_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    nvidia_smi(tmp_path, 'echo "$*, 0, 1024"')
    query = "--query-gpu=name,memory.used,memory.free --format=csv,noheader,nounits"
    assert [gpu.name for gpu in read_gpus()] == [query]
    assert [gpu.name for gpu in read_gpus("3,1")] == [f"{query} -i 3,1"]


def test_a_machine_that_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus() == ()
    nvidia_smi(tmp_path, "exit 9")
    assert read_gpus() == ()
