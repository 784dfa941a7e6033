"""`vllm serve`, and with the NPU plug-in vllm-ascend. Takes token ids, so every prompt is composed here.

- Embedding: `--runner pooling`; for reduced vectors `--hf-overrides '{"is_matryoshka": true}'`. Vectors are requested
  as raw bytes, the cheapest form for both sides; older versions do not support it and answer base64.
- Reranking: `--runner pooling` too, with the overrides that make a classifier of the published model
  (QWEN3_RERANKER_OVERRIDES in cross_encoder.py). Its /score and /rerank, which need a template, are not used.
- Priority: `--scheduling-policy priority`.
"""

from collections.abc import Mapping
from dataclasses import replace

from retrieval.engines.http.dialects.answers import by_index, json_of, scores, vectors, vectors_of_bytes
from retrieval.engines.http.dialects.dialect import Answer, Dialect, Request
from retrieval.errors import EngineFailed
from retrieval.types import TokenIds, Vector


def _embed(request: Request[TokenIds]) -> dict[str, object]:
    dimensions = {} if request.dimensions is None else {"dimensions": request.dimensions}
    return {"model": request.model, "input": [list(ids) for ids in request.inputs], **dimensions}


def _embed_bytes(request: Request[TokenIds]) -> Mapping[str, object]:
    return _embed(request) | {"encoding_format": "bytes_only", "endianness": "little"}


def _embed_base64(request: Request[TokenIds]) -> Mapping[str, object]:
    return _embed(request) | {"encoding_format": "base64"}


def _vectors(answer: Answer) -> list[Vector]:
    if answer.media_type == "application/octet-stream":
        return vectors_of_bytes(answer.content, answer.count)
    return vectors([item.get("embedding") for item in by_index(json_of(answer.content), "data", answer.count)])


def _classify(request: Request[TokenIds]) -> Mapping[str, object]:
    return {"model": request.model, "input": [list(ids) for ids in request.inputs]}


def _probabilities(answer: Answer) -> list[Vector]:
    return scores([_probability(item) for item in by_index(json_of(answer.content), "data", answer.count)])


def _probability(item: Mapping[str, object]) -> object:
    found = item.get("probs")
    if not isinstance(found, list) or len(found) != 1:
        raise EngineFailed(
            "The server's classifier does not answer one probability: start it with the reranker's hf_overrides"
        )
    return found[0]


VLLM_EMBED_BASE64 = Dialect("vllm", "/v1/embeddings", _embed_base64, _vectors, priority=True)
VLLM_EMBED = replace(VLLM_EMBED_BASE64, body=_embed_bytes, fallback=VLLM_EMBED_BASE64)
VLLM_RERANK = Dialect("vllm", "/classify", _classify, _probabilities, priority=True)
