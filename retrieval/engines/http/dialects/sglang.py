"""SGLang. Takes token ids for both tasks, so every prompt is composed here and the server needs no chat template.

- Embedding: `--is-embedding`; for reduced vectors `--json-model-override-args '{"is_matryoshka": true}'`.
- Reranking: the unchanged published model, without `--is-embedding`, and without `--multi-item-scoring-delimiter`,
  which would join the prompts. Its /v1/rerank is not used, since it takes text and needs `--chat-template`.
- Priority: `--enable-priority-scheduling --schedule-low-priority-values-first`, for embedding; /v1/score has none.

Source: EmbeddingRequest, ScoringRequest and ScoringResponse in python/sglang/srt/entrypoints/openai/protocol.py.
"""

from collections.abc import Mapping

from tokenizers import Tokenizer

from retrieval.engines.http.dialects.answers import by_index, by_place, json_of, scores, vectors
from retrieval.engines.http.dialects.dialect import Answer, Dialect, Request
from retrieval.errors import ConfigurationError, EngineFailed
from retrieval.types import TokenIds, Vector


def _embed(request: Request[TokenIds]) -> Mapping[str, object]:
    dimensions = {} if request.dimensions is None else {"dimensions": request.dimensions}
    inputs = [list(ids) for ids in request.inputs]
    return {"model": request.model, "input": inputs, "encoding_format": "float", **dimensions}


def _vectors(answer: Answer) -> list[Vector]:
    return vectors([item.get("embedding") for item in by_index(json_of(answer.content), "data", answer.count)])


def _scores(answer: Answer) -> list[Vector]:
    rows = by_place(json_of(answer.content), "scores", answer.count)
    if any(not isinstance(row, list) or len(row) != 2 for row in rows):
        raise EngineFailed("The server does not answer the probabilities of two tokens: is it SGLang?")
    return scores([yes for _, yes in rows])


def sglang_rerank(tokenizer: Tokenizer) -> Dialect[TokenIds]:
    """Returns the dialect for the model of this tokenizer. The score is the probability of `yes` relative to `yes` and
    `no` as the next token, as the model card defines it. Raises ConfigurationError.
    """
    labels = [tokenizer.token_to_id("no"), tokenizer.token_to_id("yes")]
    if None in labels:
        raise ConfigurationError("The reranker's tokenizer has no tokens `yes` and `no`: it is no Qwen3-Reranker")

    def body(request: Request[TokenIds]) -> Mapping[str, object]:
        # The server puts the query before each item; the items are whole prompts.
        items = [list(ids) for ids in request.inputs]
        return {"model": request.model, "query": [], "items": items, "label_token_ids": labels, "apply_softmax": True}

    return Dialect("sglang", "/v1/score", body, _scores)


SGLANG_EMBED = Dialect("sglang", "/v1/embeddings", _embed, _vectors, priority=True)
