"""`tandem plan`, and the plan that `tandem serve` starts its engines by."""

from collections.abc import Callable, Sequence
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli import main as cli
from app.cli.node import doctor
from app.cli.node import plan as plan_command
from app.settings import Settings
from app.wiring import devices, placement
from app.wiring import memory as engine_plan
from app.wiring.memory import (
    engine_demand,
    pair_demands,
    plan_here,
    planned_engines,
    with_query_engine,
)
from app.wiring.models import RERANK_ONLY_TOLERANCE, build_profile, engine_options, gate_options
from app.wiring.placement import check_memory, find_placement
from retrieval.device import detect
from retrieval.device.nvidia_smi import Gpu
from retrieval.device.planner import DeviceMemory
from retrieval.errors import ConfigurationError, ModelUnavailable
from retrieval.models.profiles import Model

GB = 10**9
TINY = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 2048,
    "vocab_size": 500,
}

Device = Callable[[DeviceMemory | None], None]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No models, no settings but these, and a terminal that is wide enough."""
    monkeypatch.setenv("TANDEM_MODELS_DIR", str(tmp_path / "models"))
    pair, limits = ("MODELS", "EMBED_MODEL", "RERANK_MODEL"), ("MAX_MODEL_LEN", "TENSOR_PARALLEL")
    for name in (*pair, *limits, "EMBED_MEMORY_SHARE", "RERANK_MEMORY_SHARE"):
        monkeypatch.delenv(f"TANDEM_{name}", raising=False)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Sets the device that is found."""

    def found(memory: DeviceMemory | None) -> None:
        for module in (engine_plan, placement, devices, plan_command):
            monkeypatch.setattr(module, "find_device", lambda: "cuda")
        gpus = (
            [Gpu(str(n), memory.name, memory.total_bytes, memory.used_bytes) for n in range(memory.count)]
            if memory
            else []
        )
        monkeypatch.setattr(devices, "read_gpus", lambda visible: gpus)

    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(dumps(TINY))
    return tmp_path / "tiny"


def tandem_plan(*options: str) -> Result:
    return CliRunner().invoke(cli.app, ["plan", *options], catch_exceptions=False)


def rows(result: Result) -> dict[str, list[str]]:
    """The figures of the table by the first words of their row."""
    lines = (line.rstrip() for line in result.output.splitlines())
    return {line[:32].strip(): line[32:].split() for line in lines if line and line[0].isalpha()}


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    result = tandem_plan("--models", "qwen3-0.6b", "--memory", "24")
    assert result.exit_code == 0
    found = rows(result)
    assert found["weights"] == ["1.19", "1.19", "1.19"]
    assert found["key-value cache"] == ["2.83", "0.95", "3.77"]
    assert found["together"] == ["5.89", "4.01", "6.83"]
    assert found["longest input, tokens"] == ["8,192", "8,192", "8,192"]
    assert result.output.splitlines()[0].strip() == "Device: 24.0 GB"
    assert result.output.splitlines()[-1] == "Fits: 16.7 of 24.0 GB."


def test_what_does_not_fit_ends_with_status_1_and_advice() -> None:
    result = tandem_plan("--models", "qwen3-4b", "--memory", "16")
    assert result.exit_code == 1
    assert "Does not fit: 19.0 GB are needed at the least" in result.output
    assert "\n- TANDEM_MODELS=qwen3-0.6b, which takes 12.7 GB here\n" in result.output


def test_json_holds_every_part() -> None:
    result = tandem_plan("--models", "qwen3-8b", "--memory", "80", "--json")
    told = loads(result.output)
    assert (told["verdict"], told["device"]["total_bytes"]) == ("fits", 80 * GB)
    for engine in told["engines"]:
        assert set(engine["bytes"]) == {"weights", "kv_cache", "activations", "graphs", "context"}
        assert sum(engine["bytes"].values()) == engine["total_bytes"]
        assert engine["kv_cache_memory_bytes"] == engine["bytes"]["kv_cache"]
        assert engine["gpu_memory_utilization"] * 80 * GB >= engine["total_bytes"] - engine["bytes"]["context"]
    assert sum(engine["total_bytes"] for engine in told["engines"]) == told["needed_bytes"]


def test_what_if() -> None:
    common = ("--models", "qwen3-4b", "--memory", "24", "--json")
    told = loads(tandem_plan(*common, "--weights", "int4", "--window", "4096", "--step", "8192").output)
    engine = told["engines"][0]
    assert (engine["weight_format"], engine["max_model_len"]) == ("int4", 4096)
    assert engine["max_num_batched_tokens"] == 8192
    half = loads(tandem_plan(*common, "--tensor-parallel", "2").output)
    assert (half["tensor_parallel"], half["device"]["count"]) == (2, 2)
    assert half["engines"][0]["bytes"]["weights"] < 4.1 * GB
    wrong = tandem_plan(*common, "--weights", "int3")
    assert (wrong.exit_code, "--weights int3: known are bfloat16, fp8, int4" in wrong.stderr) == (2, True)


def test_folders_say_what_they_hold(folder: Path) -> None:
    (folder / "config.json").write_text(dumps({**TINY, "quantization_config": {"quant_method": "fp8"}}))
    told = loads(tandem_plan("--embed", str(folder), "--rerank", str(folder), "--memory", "8", "--json").output)
    assert [engine["role"] for engine in told["engines"]] == ["embedder", "embedder of queries"]
    assert [engine["model"] for engine in told["engines"]] == ["tiny"] * 2
    assert [engine["weight_format"] for engine in told["engines"]] == ["fp8"] * 2
    assert [engine["max_model_len"] for engine in told["engines"]] == [2048] * 2


def test_without_a_device_its_memory_is_asked_for(device: Device) -> None:
    device(None)
    result = tandem_plan("--models", "qwen3-0.6b")
    assert (result.exit_code, "tandem plan --memory 24" in result.stderr) == (6, True)


def test_the_device_that_is_here(device: Device) -> None:
    device(DeviceMemory(24 * GB, used_bytes=2 * GB, name="NVIDIA L4"))
    result = tandem_plan("--models", "qwen3-0.6b")
    assert result.output.splitlines()[0].strip() == "NVIDIA L4: 24.0 GB, 2.0 of them in use by others"


def test_a_model_that_is_not_here_and_not_known() -> None:
    with pytest.raises(ModelUnavailable, match="tandem models pull someone/else"):
        engine_demand(Settings(), Model(id="someone/else"), "embedder", None)


def test_a_downloaded_model_is_read_before_what_is_known() -> None:
    settings = Settings(models="qwen3-0.6b")
    folder = settings.models_dir / "Qwen" / "Qwen3-Embedding-0.6B"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(dumps(TINY))
    embed, rerank = pair_demands(settings, build_profile(settings))
    assert (embed.shape.layers, rerank.shape.layers) == (2, 28)


def test_the_node_starts_by_the_plan(device: Device, folder: Path) -> None:
    device(DeviceMemory(8 * GB))
    settings = Settings(models="qwen3-0.6b")
    pair = build_profile(settings)
    planned = planned_engines(settings, pair_demands(settings, pair))
    assert planned is not None
    options = engine_options(settings, pair.embed, folder, None, planned=planned[0])
    assert (options.max_model_len, options.max_num_batched_tokens) == (8192, 8192)
    assert (options.memory_share, options.kv_cache_bytes) == (planned[0].share, planned[0].kv_cache_bytes)
    assert 2 * options.memory_share < 1


def test_shares_that_are_set_win(device: Device, folder: Path) -> None:
    device(DeviceMemory(24 * GB))
    settings = Settings(models="qwen3-0.6b", embed_memory_share=0.3)
    pair = build_profile(settings)
    planned = planned_engines(settings, pair_demands(settings, pair))
    assert planned is not None
    options = engine_options(settings, pair.embed, folder, settings.embed_memory_share, planned=planned[0])
    assert (options.memory_share, options.kv_cache_bytes) == (0.3, None)
    assert planned[1].kv_cache_memory_bytes is not None


@pytest.mark.parametrize(
    ("replicas", "query_engine", "embedders"),
    [
        (3, False, ["embedder", "embedder 2", "embedder 3"]),
        (1, True, ["embedder", "embedder of queries"]),
        (2, True, ["embedder", "embedder 2", "embedder of queries"]),
    ],
)
def test_every_engine_is_planned_for(
    device: Device, replicas: int, query_engine: bool, embedders: Sequence[str]
) -> None:
    device(DeviceMemory(24 * GB))
    settings = Settings(models="qwen3-0.6b", embed_replicas=replicas, query_engine=query_engine)
    planned = planned_engines(settings, pair_demands(settings, build_profile(settings)))
    assert planned is not None
    assert [each.role for each in planned] == [*embedders, "reranker"]
    assert len({each.share for each in planned[:replicas]}) == 1


@pytest.mark.parametrize(
    ("asked", "kind", "gigabytes", "expected"),
    [
        ({}, "cuda", 24, True),
        ({}, "cuda", 14, False),  # the pair alone takes 12.7
        ({}, "npu", 64, False),
        ({}, "cpu", 64, False),
        ({"query_engine": False}, "cuda", 24, False),
        ({"query_engine": True}, "cuda", 14, True),
        ({"rerank_memory_share": 0.4}, "cuda", 24, False),
    ],
)
def test_queries_have_an_engine_of_their_own_where_there_is_room(
    device: Device, asked: dict[str, Any], kind: detect.Device, gigabytes: int, expected: bool
) -> None:
    device(DeviceMemory(gigabytes * GB))
    settings = Settings(models="qwen3-0.6b", **asked)
    pair = build_profile(settings)
    found = with_query_engine(settings, kind, lambda each: plan_here(each, pair_demands(each, pair)))
    assert found.query_engine is expected
    assert gate_options(found).tolerance == (RERANK_ONLY_TOLERANCE if expected else 0.5)
    told = gate_options(found.model_copy(update={"gate_tolerance": 0.2}))
    assert told.tolerance == 0.2


def test_where_no_memory_is_told_there_is_no_room(device: Device) -> None:
    device(None)
    settings = Settings(models="qwen3-0.6b")
    pair = build_profile(settings)
    assert find_placement(settings, lambda each: pair_demands(each, pair)).settings.query_engine is False


def test_for_queries_the_cache_holds_the_longest_and_no_more(device: Device) -> None:
    device(DeviceMemory(24 * GB))
    for window in (8192, 12000):
        settings = Settings(models="qwen3-0.6b", query_engine=True, max_model_len=window)
        planned = planned_engines(settings, pair_demands(settings, build_profile(settings)))
        assert planned is not None
        assert (planned[1].role, planned[1].max_model_len) == ("embedder of queries", window)
        assert window <= planned[1].cached_tokens < window + 128 < planned[0].cached_tokens


def test_without_a_reading_engines_take_fixed_shares(device: Device, folder: Path) -> None:
    device(None)
    settings = Settings(models="qwen3-8b")
    pair = build_profile(settings)
    assert planned_engines(settings, pair_demands(settings, pair)) is None
    check_memory(settings, pair)


def test_serve_refuses_before_anything_starts(device: Device) -> None:
    device(DeviceMemory(24 * GB))
    settings = Settings(models="qwen3-8b")
    with pytest.raises(ConfigurationError) as refused:
        check_memory(settings, build_profile(settings))
    message = refused.value.message
    assert message.startswith("Does not fit: 34.3 GB are needed at the least, and 23.5 of 24.0 GB can be used.")
    assert "\n- TANDEM_MODELS=qwen3-4b, which takes 23.0 GB here\n" in message
    assert "Qwen/Qwen3-Reranker-8B" in message
    with pytest.raises(ConfigurationError, match="Does not fit"):
        planned_engines(settings, pair_demands(settings, build_profile(settings)))


def test_serve_says_so_on_the_command_line(
    device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    device(DeviceMemory(24 * GB))
    for name, value in {"MODELS": "qwen3-8b", "DATA_DIR": str(tmp_path), "PORT": "0"}.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    monkeypatch.setattr("sys.argv", ["tandem", "serve"])
    monkeypatch.setattr("app.cli.node.serve.configure_logging", lambda level, as_json: None)  # the whole process's
    with pytest.raises(SystemExit, match="6"):
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tandem: Does not fit: 34.3 GB are needed at the least")
    assert any(line.startswith("share of the device ") for line in lines)


@pytest.mark.parametrize(("gb", "used", "verdict"), [(24, 0, "ok"), (8, 0, "ok"), (24, 22, "note"), (4, 0, "fail")])
def test_doctor_tells_it_too(device: Device, gb: int, used: int, verdict: str) -> None:
    device(DeviceMemory(gb * GB, used * GB))
    (finding,) = doctor._memory(Settings(models="qwen3-0.6b"))
    assert (finding.verdict, finding.what) == (verdict, "memory")
    assert ("tandem plan" in finding.detail) == (verdict != "ok")


def test_doctor_is_silent_without_a_reading(device: Device) -> None:
    device(None)
    assert doctor._memory(Settings(models="qwen3-0.6b")) == []


def test_engines_elsewhere_are_not_planned_for(device: Device) -> None:
    device(DeviceMemory(1 * GB))
    url = "http://127.0.0.1:1"
    settings = Settings(models="qwen3-8b", engine="http", embed_url=url, rerank_url=url)
    check_memory(settings, build_profile(settings))


def test_models_that_are_not_here_yet_pass_until_they_are(device: Device) -> None:
    device(DeviceMemory(24 * GB))
    settings = Settings(models="qwen3-0.6b", embed_model="someone/else")
    check_memory(settings, build_profile(settings))


def test_the_setting_is_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_TENSOR_PARALLEL", "2")
    common = ("--models", "qwen3-4b", "--memory", "24", "--json")
    assert loads(tandem_plan(*common).output) == loads(tandem_plan(*common, "--tensor-parallel", "2").output)
    assert loads(tandem_plan(*common, "--tensor-parallel", "4").output)["tensor_parallel"] == 4


def test_the_node_starts_split_engines_as_planned(device: Device, folder: Path) -> None:
    device(DeviceMemory(24 * GB, count=2))
    settings = Settings(models="qwen3-8b", tensor_parallel=2)
    pair = build_profile(settings)
    planned = planned_engines(settings, pair_demands(settings, pair))
    assert planned is not None
    told = loads(tandem_plan("--models", "qwen3-8b", "--memory", "24", "--tensor-parallel", "2", "--json").output)
    for engine, record in zip(planned, told["engines"], strict=True):
        options = engine_options(settings, pair.embed, folder, None, planned=engine)
        assert options.tensor_parallel == 2
        assert options.memory_share == record["gpu_memory_utilization"]
        assert options.kv_cache_bytes == record["kv_cache_memory_bytes"]
        assert options.max_num_batched_tokens == record["max_num_batched_tokens"]


def test_fewer_devices_than_parts_are_refused_with_the_table(device: Device) -> None:
    device(DeviceMemory(24 * GB, count=2, name="NVIDIA L4"))
    settings = Settings(models="qwen3-8b", tensor_parallel=4)
    with pytest.raises(ConfigurationError) as refused:
        check_memory(settings, build_profile(settings))
    lines = refused.value.message.splitlines()
    assert lines[0].startswith("Does not fit: each model is to be split over 4 devices (TANDEM_TENSOR_PARALLEL), and ")
    assert lines[1:3] == [
        "- TANDEM_TENSOR_PARALLEL=2",
        "- 4 such devices that this process may use (CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES)",
    ]
    assert "NVIDIA L4: 24.0 GB; one of 4 that share each model" in lines
    assert any(line.startswith("share of the device ") for line in lines)
    assert doctor._memory(settings)[0].verdict == "fail"


@pytest.mark.parametrize("memory", [DeviceMemory(24 * GB, count=3), None])
def test_heads_that_cannot_be_shared_out_are_refused(device: Device, memory: DeviceMemory | None) -> None:
    device(memory)
    settings = Settings(models="qwen3-4b", tensor_parallel=3)
    with pytest.raises(ConfigurationError, match=r"32 heads \(8 of keys\) cannot be split over 3 devices"):
        check_memory(settings, build_profile(settings))
    (finding,) = doctor._memory(settings)
    assert (finding.verdict, "32 heads" in finding.detail) == ("fail", True)


def test_a_cpu_has_as_many_devices_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    check_memory(Settings(models="minilm", tensor_parallel=2), build_profile(Settings(models="minilm")))
    with pytest.raises(ConfigurationError, match=r"^TANDEM_TENSOR_PARALLEL=4: on a CPU .* core of its own, and 2 "):
        check_memory(Settings(models="minilm", tensor_parallel=4), build_profile(Settings(models="minilm")))
