"""The reranking model by itself."""

REQUESTS = {
    "Passages": {
        "model": "tandem",
        "query": "How hot is the kiln?",
        "documents": ["A celadon glaze needs iron.", "The kiln is held at 1280 degrees."],
        "top_n": 1,
    },
    "中文段落": {
        "query": "租金逾期多久可以解除合同？",
        "documents": ["租金按季支付。", {"text": "逾期超过三十日的，出租方有权解除合同。"}],
        "return_documents": True,
    },
}

_USAGE = {"total_tokens": 184, "prompt_tokens": 184, "truncated_tokens": 0}
ANSWERS = {
    "The best of two": {
        "id": "rerank-009135f958e24466975ec0f183461088",
        "model": "Qwen3-Reranker-0.6B",
        "usage": _USAGE,
        "results": [
            {"index": 1, "relevance_score": 0.982, "document": {"text": "The kiln is held at 1280 degrees."}},
        ],
    },
    "中文回答": {
        "id": "rerank-7bb64f5c1c9d4bb8b1f5a2a4f5b1c0d3",
        "model": "Qwen3-Reranker-0.6B",
        "usage": _USAGE,
        "results": [
            {"index": 1, "relevance_score": 0.991, "document": {"text": "逾期超过三十日的，出租方有权解除合同。"}},
            {"index": 0, "relevance_score": 0.214, "document": {"text": "租金按季支付。"}},
        ],
    },
}

_META = {"api_version": {"version": "2"}, "tokens": {"input_tokens": 184, "output_tokens": 0}}
COHERE_ANSWERS = {
    "The best of two": {
        "id": "009135f958e24466975ec0f183461088",
        "results": [{"index": 1, "relevance_score": 0.982}],
        "meta": _META,
    },
    "Something was cut": {
        "id": "009135f958e24466975ec0f183461088",
        "results": [{"index": 1, "relevance_score": 0.982}],
        "meta": {**_META, "warnings": ["90 tokens did not fit the model's window"]},
    },
}

PAIRS = {
    "A query and two passages": {
        "model": "tandem",
        "text_1": "How hot is the kiln?",
        "text_2": ["A celadon glaze needs iron.", "The kiln is held at 1280 degrees."],
    },
    "两对文本": {
        "text_1": ["租金怎么付？", "窑炉多热？"],
        "text_2": ["租金按季支付。", "窑炉在一千二百八十度下保温一小时。"],
    },
}

SCORES = {
    "Two pairs": {
        "id": "score-009135f958e24466975ec0f183461088",
        "object": "list",
        "created": 1_772_439_326,
        "model": "Qwen3-Reranker-0.6B",
        "data": [
            {"index": 0, "object": "score", "score": 0.003},
            {"index": 1, "object": "score", "score": 0.982},
        ],
        "usage": _USAGE,
    }
}
