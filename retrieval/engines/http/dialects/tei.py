"""Hugging Face's Text Embeddings Inference. Takes text. Requests disable truncation, so the server refuses a text that
is too long instead of silently truncating it. (It also takes token ids, but only to convert them back into text.)

- Embedding: no `--default-prompt`, since the text already contains the query's instruction. Its published interface has
  no reduced vectors.
- Reranking: cross-encoders with one output, whose two texts it joins as their tokenizer defines. It has no templates
  and serves no Qwen3-Reranker (huggingface/text-embeddings-inference, issue 643).
- Priority: none. `--max-batch-tokens` also limits the longest text.

Source: docs/openapi.json of version 1.7.1.
"""

from collections.abc import Mapping

from retrieval.engines.http.dialects.answers import by_index, by_place, json_of, scores, vectors
from retrieval.engines.http.dialects.dialect import Answer, Dialect, Pair, Request, Text
from retrieval.types import Vector


def _embed(request: Request[Text]) -> Mapping[str, object]:
    # It refuses an empty text. A blank one is the closest text that it accepts.
    return {"inputs": [each.text or " " for each in request.inputs], "truncate": False, "normalize": True}


def _vectors(answer: Answer) -> list[Vector]:
    return vectors(by_place(json_of(answer.content), None, answer.count))


def _rerank(request: Request[Pair]) -> Mapping[str, object]:
    return {
        "query": request.inputs[0].query,
        "texts": [pair.passage for pair in request.inputs],
        "truncate": False,
        "raw_scores": False,
        "return_text": False,
    }


def _scores(answer: Answer) -> list[Vector]:
    return scores([item.get("score") for item in by_index(json_of(answer.content), None, answer.count)])


TEI_EMBED = Dialect("tei", "/embed", _embed, _vectors, reduces=False)
TEI_RERANK = Dialect("tei", "/rerank", _rerank, _scores)
