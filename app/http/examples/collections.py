"""Collections."""

FINGERPRINT = {
    "model": "Qwen3-Embedding-0.6B",
    "revision": "97b0c614be4d",
    "dimension": 1024,
    "normalized": True,
    "prompt_version": "1",
    "digest": "7d97a8f42cdd",
}

CREATE = {
    "English manuals": {
        "name": "manuals",
        "language": "en",
        "chunking": {"max_tokens": 256, "overlap": 32},
        "metadata_keys": {"year": "int", "machine": "text"},
    },
    "中文合同": {
        "name": "hetong",
        "language": "zh",
        "duplicates": "skip",
        "metadata_keys": {"year": "int"},
        "query_instruction": "根据问题检索能够回答它的合同条款",
    },
    "Minutes that only members of groups read": {"name": "minutes", "principals": True},
}

_MANUALS = {
    "name": "manuals",
    "language": "en",
    "chunking": {"max_tokens": 256, "overlap": 32},
    "duplicates": "store",
    "metadata_keys": {"year": "int", "machine": "text"},
    "query_instruction": None,
    "rerank_instruction": None,
    "document_instruction": None,
    "section_prefix": False,
    "principals": False,
    "fingerprint": FINGERPRINT,
    "vectors": {"agree": True, "cosine": 0.9998},
    "created_at": "2026-03-02T08:15:24.594991Z",
}
_CONTRACTS = {
    "name": "hetong",
    "language": "zh",
    "chunking": {"max_tokens": 512, "overlap": 64},
    "duplicates": "skip",
    "metadata_keys": {"year": "int"},
    "query_instruction": "根据问题检索能够回答它的合同条款",
    "rerank_instruction": None,
    "document_instruction": None,
    "section_prefix": False,
    "principals": False,
    "fingerprint": FINGERPRINT,
    "vectors": {"agree": True, "cosine": 0.9998},
    "created_at": "2026-03-02T08:16:01.102338Z",
}

CREATED = {
    "English manuals": {**_MANUALS, "chunks": 0, "languages": {}},
    "中文合同": {**_CONTRACTS, "chunks": 0, "languages": {}},
}
ONE = {
    "English manuals": {**_MANUALS, "chunks": 18_204, "languages": {"en": 640, "de": 12}},
    "中文合同": {**_CONTRACTS, "chunks": 9_310, "languages": {"zh": 305}},
}
_NOT_COUNTED = {"chunks": None, "languages": None}
LIST = {"Two collections": {"collections": [{**_MANUALS, **_NOT_COUNTED}, {**_CONTRACTS, **_NOT_COUNTED}]}}
