"""OpenAI's embeddings and models."""

REQUESTS = {
    "A question": {"model": "tandem", "input": "How hot is the kiln?", "input_type": "query"},
    "中文段落": {
        "model": "tandem",
        "input": ["第三条 租金按季支付，每季首月五日前付清。", "窑炉在一千二百八十度下保温一小时。"],
        "input_type": "document",
        "encoding_format": "base64",
    },
    "An instruction of your own": {
        "input": ["kiln"],
        "input_type": "query",
        "instruction": "Given a word, retrieve passages that explain it",
    },
}

_USAGE = {"prompt_tokens": 12, "total_tokens": 12, "truncated_tokens": 0}
VECTORS = {
    "One text, four numbers": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5, -0.5, -0.5]}],
        "model": "Qwen3-Embedding-0.6B",
        "usage": _USAGE,
    },
    "The same as base64": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": "AAAAPwAAAD8AAAC/AAAAvw=="}],
        "model": "Qwen3-Embedding-0.6B",
        "usage": _USAGE,
    },
}

_EMBEDDER = {
    "id": "Qwen3-Embedding-0.6B",
    "object": "model",
    "created": 0,
    "owned_by": "tandem",
    "kind": "embedding",
    "dimensions": 1024,
    "max_tokens": 8190,
}
_RERANKER = {
    "id": "Qwen3-Reranker-0.6B",
    "object": "model",
    "created": 0,
    "owned_by": "tandem",
    "kind": "rerank",
    "dimensions": None,
    "max_tokens": None,
}
MODELS = {"A pair": {"object": "list", "data": [_EMBEDDER, _RERANKER]}}
MODEL = {"The embedding model": _EMBEDDER, "The reranking model": _RERANKER}
