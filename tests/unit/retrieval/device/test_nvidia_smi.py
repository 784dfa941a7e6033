import os
from pathlib import Path

import pytest

from retrieval.device.nvidia_smi import Gpu, parse_gpus, read_gpus

TOLD = """0, GPU-11aa-22, NVIDIA H200, 4, 143139, 37, 41, 119.52
1, GPU-33bb-44, NVIDIA GeForce RTX 4090, 1250, 22832, [N/A], [N/A], [N/A]
"""


def test_what_programs_can_have() -> None:
    """The driver's own part is in neither figure: an H200 has 143,771 MiB, of which programs see 143,143."""
    assert parse_gpus(TOLD) == (
        Gpu("0", "NVIDIA H200", 143_143 * 2**20, 4 * 2**20, 37, 41, 119.52),
        Gpu("1", "NVIDIA GeForce RTX 4090", 24_082 * 2**20, 1250 * 2**20),
    )


@pytest.mark.parametrize("told", ["", "0, GPU-1, NVIDIA GB10, [N/A], [N/A], 0, 35, 4.2\n", "No devices were found\n"])
def test_without_figures_there_is_nothing(told: str) -> None:
    assert parse_gpus(told) == ()


def nvidia_smi(folder: Path, script: str) -> None:
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def test_only_visible_devices_are_told_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    nvidia_smi(tmp_path, f"cat <<END\n{TOLD}END")
    assert [gpu.id for gpu in read_gpus()] == ["0", "1"]
    assert [(gpu.id, gpu.name) for gpu in read_gpus("1,0")] == [("1", "NVIDIA GeForce RTX 4090"), ("0", "NVIDIA H200")]
    assert [(gpu.id, gpu.name) for gpu in read_gpus("GPU-33bb")] == [("GPU-33bb", "NVIDIA GeForce RTX 4090")]


def test_what_is_named_after_a_device_that_is_not_there_does_not_count() -> None:
    """As CUDA has it."""
    assert [gpu.id for gpu in parse_gpus(TOLD, "1,7,0")] == ["1"]
    assert parse_gpus(TOLD, "") == ()


def test_a_machine_that_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus() == ()
    nvidia_smi(tmp_path, "exit 9")
    assert read_gpus() == ()
