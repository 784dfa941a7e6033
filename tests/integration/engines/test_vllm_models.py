"""The engines' numbers against Transformers in float32, from the model card's whole prompts."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM

from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.types import Lane
from tests.support.models.qwen3_tokenizer import END_OF_TEXT, NO, YES

TEXTS = [
    "The capital of France is Paris.",
    "北京是中华人民共和国的首都，位于华北平原。",
    "def f(x):\n\treturn {'a': x ** 2}\n",
    "Eine Familie 👩‍👩‍👧‍👦",
    "word " * 300,
]
QUERY = "what is the capital of China"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


def last_hidden_states(folder: Path, prompts: list[list[int]]) -> npt.NDArray[np.float32]:
    model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return np.stack([model(torch.tensor([ids])).last_hidden_state[0, -1].numpy() for ids in prompts])


def cosine(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(1) / lengths)


async def test_document_vectors_are_those_of_transformers(
    tiny_embedder: VllmEmbedder, tiny_embedding_folder: Path, qwen3_tokenizer: Tokenizer
) -> None:
    expected = last_hidden_states(
        tiny_embedding_folder, [[*qwen3_tokenizer.encode(text).ids, END_OF_TEXT] for text in TEXTS]
    )
    result = await tiny_embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    assert cosine(result.vectors, expected).min() >= 0.999
    assert np.abs(cosine(np.roll(result.vectors, 1, axis=0), expected)).max() < 0.99  # the texts do differ


@pytest.mark.parametrize("instruction", [None, "Find the Wikipedia article"])
async def test_query_vectors_are_those_of_transformers(
    tiny_embedder: VllmEmbedder, tiny_embedding_folder: Path, qwen3_tokenizer: Tokenizer, instruction: str | None
) -> None:
    text = f"Instruct: {instruction or INSTRUCTION}\nQuery:{QUERY}"
    expected = last_hidden_states(tiny_embedding_folder, [[*qwen3_tokenizer.encode(text).ids, END_OF_TEXT]])
    result = await tiny_embedder.embed([QUERY], kind="query", lane=Lane.INTERACTIVE, instruction=instruction)
    assert cosine(result.vectors, expected).min() >= 0.999


@pytest.mark.parametrize("instruction", [None, "Find code"])
async def test_rerank_scores_are_the_softmax_of_no_and_yes(
    tiny_reranker: CrossEncoderReranker, tiny_reranker_folder: Path, qwen3_tokenizer: Tokenizer, instruction: str | None
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_reranker_folder, dtype=torch.float32)
    model.eval()
    expected = []
    for text in TEXTS:
        prompt = (
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
            f"<Instruct>: {instruction or INSTRUCTION}\n<Query>: {QUERY}\n<Document>: {text.strip()}"
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )
        with torch.inference_mode():
            logits = model(torch.tensor([qwen3_tokenizer.encode(prompt).ids])).logits[0, -1, [NO, YES]]
        expected.append(logits.softmax(-1)[1].item())
    result = await tiny_reranker.rerank(QUERY, TEXTS, lane=Lane.INTERACTIVE, instruction=instruction)
    assert result.scores == pytest.approx(expected, abs=0.01)
    assert max(expected) - min(expected) > 0.05  # the passages do differ


async def test_minilm_knows_what_is_alike(minilm_embedder: VllmEmbedder) -> None:
    documents = await minilm_embedder.embed(
        ["Paris is the capital of France.", "Cats sleep most of the day."], kind="document", lane=Lane.BULK
    )
    query = await minilm_embedder.embed(["the French capital"], kind="query", lane=Lane.INTERACTIVE)
    near, far = documents.vectors @ query.vectors[0]
    assert near > far + 0.4
    told = await minilm_embedder.embed(
        ["the French capital"], kind="document", lane=Lane.BULK, instruction="Translate: "
    )
    written = await minilm_embedder.embed(["Translate: the French capital"], kind="query", lane=Lane.BULK)
    assert told.vectors[0] @ written.vectors[0] > 0.999
    assert told.vectors[0] @ query.vectors[0] < 0.99
