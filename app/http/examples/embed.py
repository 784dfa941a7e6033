"""The embedding model by itself."""

from app.http.examples.collections import FINGERPRINT

REQUESTS = {
    "Questions": {"texts": ["how hot is the kiln?", "租金逾期多久可以解除合同？"], "kind": "query"},
    "Passages": {"texts": ["The kiln is held at 1280 degrees for an hour."], "kind": "document", "lane": "bulk"},
    "An instruction of your own": {
        "texts": ["kiln"],
        "kind": "query",
        "instruction": "Given a word, retrieve passages that explain it",
        "lane": "interactive",
    },
}

VECTORS = {
    "One text, four numbers": {
        "vectors": "AAAAPwAAAD8AAAC/AAAAvw==",
        "tokens": [12],
        "truncated_tokens": [0],
        "fingerprint": {**FINGERPRINT, "dimension": 4},
    }
}

EMBEDDER = {"Qwen3": {"fingerprint": FINGERPRINT, "max_tokens": 8190, "tokenizer": "fdd4083b33f6"}}
