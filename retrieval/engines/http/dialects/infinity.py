"""Infinity (PyPI `infinity-emb`). Takes text, strips the white space around it, and silently truncates what is too long
for the model: the window configured here must not exceed the model's own.

- Embedding: the text already contains the query's instruction.
- Reranking: cross-encoders with one output, whose two texts it joins as their tokenizer defines. It has no templates,
  and it would strip the empty line at the end of Qwen3-Reranker's prompt.
- Priority: none.

Source: its OpenAPI description, version 0.0.78.
"""

from collections.abc import Mapping

from retrieval.engines.http.dialects.answers import by_index, json_of, scores, vectors
from retrieval.engines.http.dialects.dialect import Answer, Dialect, Pair, Request, Text
from retrieval.types import Vector


def _embed(request: Request[Text]) -> Mapping[str, object]:
    dimensions = {} if request.dimensions is None else {"dimensions": request.dimensions}
    inputs = [each.text for each in request.inputs]
    return {"model": request.model, "input": inputs, "encoding_format": "base64", **dimensions}


def _vectors(answer: Answer) -> list[Vector]:
    return vectors([item.get("embedding") for item in by_index(json_of(answer.content), "data", answer.count)])


def _rerank(request: Request[Pair]) -> Mapping[str, object]:
    documents = [pair.passage for pair in request.inputs]
    return {"model": request.model, "query": request.inputs[0].query, "documents": documents, "raw_scores": False}


def _scores(answer: Answer) -> list[Vector]:
    items = by_index(json_of(answer.content), "results", answer.count)
    return scores([item.get("relevance_score") for item in items])


INFINITY_EMBED = Dialect("infinity", "/embeddings", _embed, _vectors)
INFINITY_RERANK = Dialect("infinity", "/rerank", _rerank, _scores)
