"""Which device engines run on, and what is read of it: by nvidia-smi, and by npu-smi on published tables."""

import pytest
from pydantic import ValidationError

from app.settings import Settings, cuda_visible_devices
from app.wiring import devices
from app.wiring.devices import read_device
from retrieval.device.gate import GateOptions
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
    asked = nvidia_smi(monkeypatch, Gpu("3", "NVIDIA L4", 24 * GB, GB))
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
        monkeypatch,
        Gpu("0", "first", 24 * GB, 1 * GB),
        Gpu("1", "second", 24 * GB, 5 * GB),
        Gpu("2", "third", 24 * GB, 20 * GB),
    )
    assert read_device(["0"]) == DeviceMemory(24 * GB, 1 * GB, "first", count=1)
    assert read_device(["1", "0"]) == DeviceMemory(24 * GB, 5 * GB, "second", count=2)
    assert read_device() == DeviceMemory(24 * GB, 20 * GB, "third", count=3)


def test_an_npu_has_what_its_driver_does_not_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A2)
    idle = read_device(["0"])
    assert idle == DeviceMemory(64 * GIB - KEPT, 3418 * MIB - KEPT, "NPU device 0, 910B4-1", count=1)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    busy = read_device()
    assert busy == DeviceMemory(64 * GIB - KEPT, 59356 * MIB - KEPT, "NPU device 1, 910B4-1", count=1)


def test_what_an_npu_has_free_is_what_npu_smi_says(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A2)
    for names, free in ((["0"], 65536 - 3418), (["0", "1"], 65536 - 59356)):
        device = read_device(names)
        assert device is not None
        assert device.total_bytes - device.used_bytes == free * MIB


def test_an_npu_that_uses_less_than_drivers_do_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(monkeypatch, A3)
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,0")
    assert read_device(["1"]) == DeviceMemory(64 * GIB - KEPT, 0, "NPU device 1, Ascend910", count=1)


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


def placed(**settings: object) -> list[tuple[str, str]]:
    """Name and roles of each."""
    found = devices.places(Settings(**settings))  # type: ignore[arg-type]
    return [(place.name, "+".join(sorted(place.roles))) for place in found]


def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(monkeypatch, *(Gpu(str(number), "NVIDIA H200", 150 * GB, 0) for number in range(4)))


def test_both_models_are_on_every_visible_device(monkeypatch: pytest.MonkeyPatch) -> None:
    four_gpus(monkeypatch)
    assert placed() == [(name, "embed+rerank") for name in "0123"]
    assert placed(devices="2") == [(name, "embed+rerank") for name in "01"]
    assert placed(devices="3,1") == [(name, "embed+rerank") for name in "31"]
    assert placed(devices="2,") == [("2", "embed+rerank")]


def test_models_that_are_split_take_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    four_gpus(monkeypatch)
    assert placed(tensor_parallel=2) == [("0,1", "embed+rerank"), ("2,3", "embed+rerank")]
    assert placed(tensor_parallel=2, devices="3") == [("0,1", "embed+rerank")]
    assert placed(tensor_parallel=2, placement="by-role") == [("0,1", "embed"), ("2,3", "rerank")]


def test_devices_with_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    four_gpus(monkeypatch)
    assert placed(placement="by-role", devices="3") == [("0", "embed"), ("1", "embed"), ("2", "rerank")]
    with pytest.raises(ConfigurationError, match="at least two devices"):
        placed(placement="by-role", devices="1")


def test_a_device_that_is_not_visible_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    four_gpus(monkeypatch)
    with pytest.raises(ConfigurationError, match=r"TANDEM_DEVICES names device 4, .* 4 are visible"):
        placed(devices="5")


def test_each_engine_sees_its_own_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    four_gpus(monkeypatch)
    pairs = devices.build_devices(Settings(tensor_parallel=2), GateOptions())
    assert [pair.environment["CUDA_VISIBLE_DEVICES"] for pair in pairs] == ["0,1", "2,3"]
    assert {pair.environment["CUDA_DEVICE_ORDER"] for pair in pairs} == {"PCI_BUS_ID"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2,1,0")
    assert "CUDA_DEVICE_ORDER" not in devices.build_devices(Settings(), GateOptions())[0].environment
    npu_smi(monkeypatch, A2)
    assert [each.environment for each in devices.build_devices(Settings(), GateOptions())] == [
        {"ASCEND_RT_VISIBLE_DEVICES": "0"},
        {"ASCEND_RT_VISIBLE_DEVICES": "1"},
    ]


def test_on_a_cpu_groups_of_engines_stand_for_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_device", lambda: "cpu")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(5)))
    assert placed() == [("0", "embed+rerank")]
    assert [each.cpu_cores for each in devices.build_devices(Settings(), GateOptions())] == [None]
    assert [each.cpu_cores for each in devices.build_devices(Settings(devices="2"), GateOptions())] == ["0,1", "2,3,4"]
    assert [
        each.cpu_cores for each in devices.build_devices(Settings(devices="2", tensor_parallel=2), GateOptions())
    ] == ["0|1", "2|3,4"]
    assert [each.cpu_cores for each in devices.build_devices(Settings(devices="6"), GateOptions())] == [None] * 6


@pytest.mark.parametrize(("value", "devices"), [("2", (0, 1)), ("3,1", (3, 1)), ("2,", (2,)), ("", None)])
def test_devices_as_the_environment_has_them(
    monkeypatch: pytest.MonkeyPatch, value: str, devices: tuple[int, ...] | None
) -> None:
    monkeypatch.setenv("TANDEM_DEVICES", value)
    assert Settings().devices == devices


@pytest.mark.parametrize("wrong", ["0", "a", "1,1", "-1", ",", "65", "1.5"])
def test_devices_are_a_number_or_a_list(wrong: str) -> None:
    with pytest.raises(ValidationError):
        Settings(devices=wrong)  # type: ignore[arg-type]
