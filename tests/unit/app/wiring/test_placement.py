"""Which devices engines are placed on where the settings leave it open: by what nvidia-smi and npu-smi report."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from json import loads
from pathlib import Path
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from app.cli import main as cli
from app.cli.node import doctor, serve
from app.cli.node import plan as plan_command
from app.settings import Settings
from app.wiring import devices, memory, placement
from app.wiring.memory import pair_demands
from app.wiring.models import build_profile
from app.wiring.placement import Placement, check_memory, find_placement, log_placement
from retrieval.device.npu_smi import Npu, select_npus
from retrieval.device.nvidia_smi import Gpu
from retrieval.errors import ConfigurationError

GB = 10**9
GIB = 2**30


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "TANDEM_DEVICES", "TANDEM_TENSOR_PARALLEL"):
        monkeypatch.delenv(name, raising=False)


Gpus = Callable[..., None]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    """Sets what is visible: for each GPU its GB, and those that others use."""

    def found(*figures: tuple[float, float], names: Sequence[str] = ()) -> None:
        for module in (devices, memory, placement, plan_command):
            monkeypatch.setattr(module, "find_device", lambda: "cuda")
        visible = [
            Gpu(str(number), names[number] if names else "NVIDIA L4", round(total * GB), round(used * GB))
            for number, (total, used) in enumerate(figures)
        ]
        monkeypatch.setattr(devices, "read_gpus", lambda _: visible)

    return found


def placed(**settings: object) -> Placement:
    chosen = Settings(**settings)  # type: ignore[arg-type]
    pair = build_profile(chosen)
    return find_placement(chosen, lambda each: pair_demands(each, pair))


def names(found: Placement) -> list[str]:
    return [place.name for place in found.places]


def test_a_device_that_others_fill_is_left_out(gpus: Gpus) -> None:
    gpus((24, 0), (24, 20), (24, 1))
    found = placed(models="qwen3-0.6b")
    assert names(found) == ["0", "2"]
    assert found.left_out["1"].startswith("Does not fit: ")
    assert found.plan is not None
    assert (found.plan.verdict, found.plan.device.used_bytes) == ("fits", 1 * GB)
    with capture_logs() as logs:
        log_placement(found)
    (warning,) = (entry for entry in logs if entry["log_level"] == "warning")
    assert (warning["event"], warning["device"]) == ("device left out", "1")
    assert [entry["device"] for entry in logs if entry["event"] == "device planned"] == ["0", "2"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"milvus_uri": "http://milvus:19530"}, 1),
        ({"milvus_uri": "http://milvus:19530", "worker_processes": 6}, 0),
        ({"milvus_uri": "http://milvus:19530", "workers": 0}, 0),
        ({}, 0),  # nothing can be done: one process alone opens Milvus Lite
    ],
)
def test_that_one_process_ingests_for_gpus_is_told(gpus: Gpus, changed: dict[str, Any], told: int) -> None:
    gpus((80, 0))
    with capture_logs() as logs:
        log_placement(placed(models="qwen3-0.6b", **changed))
    assert sum(entry["event"].startswith("one process ingests") for entry in logs) == told


def test_a_device_with_room_for_a_smaller_window_only_is_left_out(gpus: Gpus) -> None:
    gpus((24, 0), (24, 17.5))
    alone = placed(models="qwen3-0.6b", devices="1,")
    assert alone.plan is not None
    assert alone.plan.fits
    assert alone.plan.engines[0].max_model_len < 8192
    found = placed(models="qwen3-0.6b")
    assert (names(found), list(found.left_out)) == (["0"], ["1"])
    assert "tokens fits, and 8,192 on others" in found.left_out["1"]


def test_a_full_device_that_a_setting_names_is_refused(gpus: Gpus) -> None:
    gpus((24, 0), (24, 20))
    for named in ("2", "0,1", "1,"):
        settings = Settings(models="qwen3-0.6b", devices=named)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="Does not fit"):
            check_memory(settings, build_profile(settings))
    settings = Settings(models="qwen3-0.6b", devices="0,")  # type: ignore[arg-type]
    assert names(check_memory(settings, build_profile(settings)) or pytest.fail("planned for")) == ["0"]


def test_without_a_device_that_they_fit_the_start_is_refused_with_all_of_them(gpus: Gpus) -> None:
    gpus((24, 20), (24, 21))
    settings = Settings(models="qwen3-0.6b")
    with pytest.raises(ConfigurationError) as refused:
        check_memory(settings, build_profile(settings))
    lines = [line.split() for line in refused.value.message.splitlines()]
    assert [line[:5] for line in lines if line[1:3] == ["NVIDIA", "L4"]] == [
        ["0", "NVIDIA", "L4", "24.0", "20.0"],
        ["1", "NVIDIA", "L4", "24.0", "21.0"],
    ]


def test_models_that_fit_no_device_are_split_over_equal_ones(gpus: Gpus) -> None:
    gpus((24, 0), (24, 0), (24, 0), (24, 0), (24, 0))
    found = placed(models="qwen3-8b")
    assert (found.settings.tensor_parallel, names(found)) == (2, ["0,1", "2,3"])
    assert found.left_out == {"4": "Models are split over 2 devices of one kind, and too few are left beside it."}
    with capture_logs() as logs:
        log_placement(found)
    split = [entry for entry in logs if entry["event"].startswith("models are split")]
    assert [entry["devices_each"] for entry in split] == [2]
    assert [row.note for row in found.rows[:2]] == ["models are split with 1", "models are split with 0"]
    small = placed(models="qwen3-0.6b")
    assert (small.settings.tensor_parallel, small.split_by_itself, len(small.places)) == (1, False, 5)
    assert placed(models="qwen3-8b", devices="3,1").settings.tensor_parallel == 2
    fixed = placed(models="qwen3-8b", tensor_parallel=4)
    assert (names(fixed), fixed.split_by_itself) == (["0,1,2,3"], False)


def test_unequal_devices_share_no_model(gpus: Gpus) -> None:
    gpus((24, 0), (24, 0), (24, 0), names=("NVIDIA L4", "NVIDIA A10", "NVIDIA L4"))
    found = placed(models="qwen3-8b")
    assert (names(found), list(found.left_out)) == (["0,2"], ["1"])
    gpus((24, 0), (24, 0), names=("NVIDIA L4", "NVIDIA A10"))
    assert placed(models="qwen3-8b").settings.tensor_parallel == 1
    gpus((24, 0))
    settings = Settings(models="qwen3-8b")
    with pytest.raises(ConfigurationError, match="2 such devices, and TANDEM_TENSOR_PARALLEL=2"):
        check_memory(settings, build_profile(settings))


def test_roles_need_two_devices_that_are_left(gpus: Gpus) -> None:
    gpus((24, 0), (24, 20), (24, 0))
    found = placed(models="qwen3-0.6b", placement="by-role")
    assert [(place.name, *place.roles) for place in found.places] == [("0", "embed"), ("2", "rerank")]
    engines = [[engine.role for engine in row.engines] for row in found.rows]
    assert engines == [["embedder", "embedder of queries"], [], ["reranker"]]


def test_npus_by_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (devices, memory, placement):
        monkeypatch.setattr(module, "find_device", lambda: "npu")
    chip = Npu(0, 0, "910B4", "OK", 41.0, 90.0, 0.0, 3 * GIB, 32 * GIB, 0)
    chips = tuple(replace(chip, id=number, device=number) for number in range(3))
    chips = (replace(chips[0], hbm_used_bytes=30 * GIB), *chips[1:])
    monkeypatch.setattr(devices, "read_npus", lambda visible: select_npus(chips, visible))
    assert names(placed(models="qwen3-0.6b")) == ["1", "2"]
    found = placed(models="qwen3-8b")
    assert (found.settings.tensor_parallel, names(found), list(found.left_out)) == (2, ["1,2"], ["0"])


def test_without_figures_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (devices, memory, placement):
        monkeypatch.setattr(module, "find_device", lambda: "cpu")
    found = placed(models="minilm", devices="2")
    assert (found.settings.devices, found.settings.tensor_parallel, found.rows) == ((0, 1), 1, [])


@pytest.mark.parametrize(
    ("changed", "roles"),
    [
        ({"models": "minilm"}, ["embedder"]),
        ({"models": "e5", "embed_replicas": 2}, ["embedder", "embedder 2"]),
        ({"models": "minilm", "rerank_memory_share": 0.1}, ["embedder", "reranker"]),
        ({"models": "minilm", "placement": "by-role"}, ["embedder", "reranker"]),
        ({"models": "qwen3-0.6b"}, ["embedder", "reranker"]),
    ],
)
def test_the_same_weights_are_loaded_once(changed: dict[str, Any], roles: list[str]) -> None:
    settings = Settings(**changed)
    assert [demand.role for demand in pair_demands(settings, build_profile(settings))] == roles


def test_tandem_plan_prints_a_row_for_each_device(gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus((24, 0), (24, 20), (24, 1))
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(cli.app, ["plan", "--models", "qwen3-0.6b"], catch_exceptions=False)
    assert result.exit_code == 0
    lines = [line.strip().split(maxsplit=6) for line in result.output.splitlines() if "NVIDIA L4  " in line]
    assert [line[:5] for line in lines] == [
        ["0", "NVIDIA", "L4", "24.0", "0.0"],
        ["1", "NVIDIA", "L4", "24.0", "20.0"],
        ["2", "NVIDIA", "L4", "24.0", "1.0"],
    ]
    assert lines[0][5:] == ["16.7", "embedder, embedder of queries, reranker"]
    assert lines[1][5] == "0.0"
    assert lines[1][6].startswith("none; Does not fit: ")
    monkeypatch.setenv("TANDEM_DEVICES", "2,")
    result = CliRunner().invoke(cli.app, ["plan", "--models", "qwen3-0.6b", "--json"], catch_exceptions=False)
    told = loads(result.output)
    assert told["device"]["used_bytes"] == 1 * GB
    assert [(each["name"], each["planned_bytes"] > 0) for each in told["devices"]] == [
        ("0", False),
        ("1", False),
        ("2", True),
    ]
    assert told["devices"][0]["note"] == "TANDEM_DEVICES leaves it out"


def test_doctor_names_the_devices_that_are_left_out(gpus: Gpus) -> None:
    gpus((24, 0), (24, 20))
    fits, left_out = doctor._memory(Settings(models="qwen3-0.6b"))
    assert (fits.verdict, fits.what) == ("ok", "memory")
    assert (left_out.verdict, left_out.what) == ("note", "device 1")
    assert left_out.detail.startswith("left out: Does not fit: ")


def test_tandem_serve_prints_the_devices_before_it_listens(
    gpus: Gpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gpus((24, 0), (24, 20))

    def refused(settings: Settings) -> NoReturn:
        raise ConfigurationError("no port")

    monkeypatch.setattr(serve, "configure_logging", lambda level, as_json: None)  # the whole process's
    monkeypatch.setattr(serve, "_listen", refused)
    for as_json in (False, True):
        with pytest.raises(ConfigurationError, match="no port"):
            serve.serve(Settings(models="qwen3-0.6b", data_dir=tmp_path, log_json=as_json))
        assert ("NVIDIA L4" in capsys.readouterr().err) is not as_json
