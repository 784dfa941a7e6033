"""Which device engines run on, and what is read of it: by nvidia-smi, and by npu-smi on published tables."""

import pytest

from app.settings import cuda_visible_devices
from app.wiring import devices
from app.wiring.devices import read_device
from retrieval.device.npu_smi import parse_npus, select_npus
from retrieval.device.nvidia_smi import Gpu
from retrieval.device.planner import DeviceMemory
from retrieval.errors import ConfigurationError, DeviceUnknown
from tests.unit.retrieval.device.test_npu_smi import A2, A3, DUO_310P, GIB, MIB

GB = 10**9
KEPT = round(64 * GIB * 0.05)
"""By the driver."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def npu_smi(monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    monkeypatch.setattr(devices, "find_device", lambda: "npu")
    monkeypatch.setattr(devices, "read_npus", lambda visible: select_npus(parse_npus(table), visible))


def nvidia_smi(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> list[str | None]:
    asked: list[str | None] = []
    monkeypatch.setattr(devices, "find_device", lambda: "cuda")
    monkeypatch.setattr(devices, "read_gpus", lambda visible: asked.append(visible) or gpus)
    return asked


def test_a_gpu_is_one_of_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = nvidia_smi(monkeypatch, Gpu("NVIDIA L4", 24 * GB, GB))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert read_device() == DeviceMemory(24 * GB, GB, "NVIDIA L4")
    assert asked == ["3,1"] == [cuda_visible_devices()]


def test_a_machine_without_an_accelerator_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_device", lambda: "cpu")
    assert read_device() is None
    nvidia_smi(monkeypatch)
    assert read_device() is None


def test_of_the_devices_that_share_a_model_the_one_with_least_is_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(
        monkeypatch, Gpu("first", 24 * GB, 1 * GB), Gpu("second", 24 * GB, 5 * GB), Gpu("third", 24 * GB, 20 * GB)
    )
    assert read_device() == DeviceMemory(24 * GB, 1 * GB, "first", count=3)
    assert read_device(2) == DeviceMemory(24 * GB, 5 * GB, "second", count=3)
    assert read_device(8) == DeviceMemory(24 * GB, 20 * GB, "third", count=3)


def test_an_npu_is_the_first_that_is_visible_less_what_its_driver_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A2)
    idle = read_device()
    assert idle == DeviceMemory(64 * GIB - KEPT, 3418 * MIB - KEPT, "NPU device 0, 910B4-1", count=2)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    busy = read_device()
    assert busy == DeviceMemory(64 * GIB - KEPT, 59356 * MIB - KEPT, "NPU device 1, 910B4-1", count=1)


def test_what_an_npu_has_free_is_what_npu_smi_says(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A2)
    for parts, free in ((1, 65536 - 3418), (2, 65536 - 59356)):
        device = read_device(parts)
        assert device is not None
        assert device.total_bytes - device.used_bytes == free * MIB


def test_an_npu_that_uses_less_than_drivers_do_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A3)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,0")
    assert read_device() == DeviceMemory(64 * GIB - KEPT, 0, "NPU device 1, Ascend910", count=2)


def test_a_310p_is_left_to_the_shares_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, DUO_310P)
    assert read_device() is None


def test_an_npu_smi_that_fails_is_no_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(visible: object) -> None:
        raise DeviceUnknown("npu-smi is not here")

    monkeypatch.setattr(devices, "find_device", lambda: "npu")
    monkeypatch.setattr(devices, "read_npus", fails)
    assert read_device() is None


def test_a_chip_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A2)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "2")
    with pytest.raises(ConfigurationError, match="names device 2"):
        read_device()
