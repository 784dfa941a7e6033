"""What the options say arrives in vLLM's own configuration."""

from dataclasses import replace
from pathlib import Path

from retrieval.engines.vllm_options import engine_arguments
from tests.support.engines import engine_options


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
