"""What the options say arrives in vLLM's own configuration."""

from dataclasses import fields, replace
from json import loads
from pathlib import Path

import pytest

from retrieval.engines.vllm.options import capture_whole_steps, engine_arguments, engine_config
from retrieval.engines.vllm.versions import installed_engine
from tests.support.models.engines import engine_options

SIGNATURES = Path(__file__).parents[2] / "support" / "models" / "vllm_signatures"


def test_graph_sizes_and_the_plugin_s_configuration_arrive(tiny_embedding_folder: Path) -> None:
    plain = engine_options("tiny", tiny_embedding_folder)
    plugin = {"ascend_compilation_config": {"fuse_norm_quant": False}}
    chosen = replace(plain, dtype="float16", graph_capture_sizes=(8, 16), additional_config=plugin)
    arguments = engine_arguments(chosen)
    assert (arguments.dtype, arguments.cudagraph_capture_sizes) == ("float16", [8, 16])
    assert engine_arguments(plain).cudagraph_capture_sizes is None
    assert engine_arguments(plain).additional_config == {}
    assert arguments.create_engine_config().additional_config == plugin


def test_a_split_model_is_computed_in_a_process_for_each_part(tiny_embedding_folder: Path) -> None:
    split = replace(engine_options("tiny", tiny_embedding_folder), tensor_parallel=2)
    parallel = engine_arguments(split).create_engine_config().parallel_config
    assert (parallel.tensor_parallel_size, parallel.distributed_executor_backend) == (2, "mp")


@pytest.mark.parametrize(
    ("flash_attention", "mode", "becomes"),
    [
        (3, "PIECEWISE", "FULL"),
        (2, "PIECEWISE", "PIECEWISE"),
        (None, "PIECEWISE", "PIECEWISE"),
        (3, "NONE", "NONE"),
    ],
)
def test_whole_steps_are_captured_where_attention_can_be(
    tiny_embedding_folder: Path, flash_attention: int | None, mode: str, becomes: str
) -> None:
    assert _mode_of(tiny_embedding_folder, mode, flash_attention) == becomes


def test_of_an_encoder_only_the_pieces_are_captured(minilm_folder: Path) -> None:
    assert _mode_of(minilm_folder, "PIECEWISE", 3) == "PIECEWISE"


def test_whole_graphs_are_no_matter_where_there_are_none(tiny_embedding_folder: Path) -> None:
    config = engine_config(replace(engine_options("tiny", tiny_embedding_folder), whole_graphs=True))
    assert config.compilation_config.cudagraph_mode.name == "NONE"


def _mode_of(folder: Path, before: str, flash_attention: int | None) -> str:
    from vllm.config import CUDAGraphMode

    config = engine_config(engine_options("model", folder, max_model_len=256))
    config.compilation_config.cudagraph_mode = CUDAGraphMode[before]  # on a CPU there is none
    capture_whole_steps(config, flash_attention)
    return config.compilation_config.cudagraph_mode.name


def test_the_signatures_of_the_installed_version_are_its_own() -> None:
    from vllm.config import PoolerConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    found = installed_engine()
    assert found is not None
    kept = loads((SIGNATURES / f"{found[1].base_version}.json").read_text())
    for each in (AsyncEngineArgs, PoolerConfig):
        assert kept[each.__name__] == sorted(field.name for field in fields(each) if not field.name.startswith("_"))
