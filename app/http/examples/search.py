"""Search requests and their answers."""

QUESTIONS = {
    "A question": {"query": "How hot is the kiln?", "collection": "manuals", "top_k": 3},
    "中文提问": {"query": "租金逾期多久可以解除合同？", "collection": "hetong", "top_k": 3},
    "Within a filter and a budget": {
        "query": "care of the machines in spring",
        "collection": "manuals",
        "filter": {
            "type": "and",
            "filters": [
                {"type": "gte", "key": "metadata.year", "value": 2023},
                {"type": "in", "key": "metadata.machine", "value": ["kiln", "loom"]},
            ],
        },
        "candidates": 100,
        "budget_ms": 300,
        "group_by": "document",
    },
    "In two languages": {"query": "租金逾期多久可以解除合同？", "languages": ["zh", "en"]},
    "For a prompt: context and highlights": {"query": "how is the kiln cooled", "neighbors": 1, "highlights": 2},
    "For a prompt: whole sections": {"query": "how is the kiln cooled", "expand": "section", "expand_tokens": 1500},
    "For links: where the answer is, without its text": {
        "query": "how is the kiln cooled",
        "include": ["title", "section"],
    },
    "Two questions at once, by words alone": {
        "queries": ["kiln temperature", "glaze"],
        "mode": "sparse",
        "rerank": False,
    },
}

_MODELS = {"embed": "Qwen3-Embedding-0.6B", "rerank": "Qwen3-Reranker-0.6B"}
_KILN = {
    "chunk_id": "c0c60bb85358c74f86363c18c8419505",
    "document_id": "kiln",
    "title": "Operating the kiln",
    "text": "The kiln is held at 1280 degrees for an hour. It cools overnight with the door shut.",
    "start": 0,
    "end": 84,
    "page": None,
    "section": [],
    "partition": "workshop",
    "media_type": "text/plain",
    "language": "en",
    "metadata": {"year": 2024, "machine": "kiln"},
    "score": 0.982,
    "scores": {"dense": 0.741, "sparse": 4.13, "fused": 1.0, "rerank": 0.982},
    "ranks": {"dense": 1, "sparse": 1, "fused": 1, "rerank": 1},
    "truncated_tokens": 0,
    "others": [],
    "context": None,
    "highlights": None,
}
_CLAUSE = {
    "chunk_id": "5b0e1f0c1fb7a64dfe0e5d4b28b1c9a7",
    "document_id": "zulin-2024-017",
    "title": "厂房租赁合同",
    "text": "第三条 租金按季支付，每季首月五日前付清。逾期超过三十日的，出租方有权解除合同。",
    "start": 0,
    "end": 40,
    "page": 2,
    "section": ["厂房租赁合同", "第三条 租金"],
    "partition": "法务部",
    "media_type": "application/pdf",
    "language": "zh",
    "metadata": {"year": 2024},
    "score": 0.967,
    "scores": {"dense": 0.702, "sparse": 6.88, "fused": 1.0, "rerank": 0.967},
    "ranks": {"dense": 1, "sparse": 1, "fused": 1, "rerank": 1},
    "truncated_tokens": 0,
    "others": [],
    "context": None,
    "highlights": [{"text": "逾期超过三十日的，出租方有权解除合同。", "start": 21, "end": 40, "score": 0.991}],
}
_RERANKED = {
    "hits": [_KILN],
    "score_name": "rerank",
    "relevance_name": "rerank",
    "recall": {"mode": "hybrid", "candidates": 50, "reason": None, "weights": {"dense": 1.0, "sparse": 1.0}},
    "rerank": {"applied": True, "reason": None, "candidates": 50, "scored": 50, "ms": 38.6},
    "timings_ms": {"embed": 6.2, "recall": 11.8, "rerank": 38.6, "total": 58.1},
    "models": _MODELS,
    "truncated_query_tokens": 0,
    "next_cursor": "-jo315tkZHpPsHlRvLLHWlsxLCA1MCwgImh5YnJpZCIsIHRydWUsICJlM2Q4YzMxY2JkM2I1NWRmIl0=",
    "request_id": "009135f958e24466975ec0f183461088",
}

ANSWERS = {
    "Reranked": _RERANKED,
    "Without text": {
        **_RERANKED,
        "hits": [{name: value for name, value in _KILN.items() if name not in ("text", "metadata", "scores", "ranks")}],
    },
    "中文回答": {**_RERANKED, "hits": [_CLAUSE], "next_cursor": None},
    "The reranker is away": {
        **_RERANKED,
        "hits": [
            {
                **_KILN,
                "score": 1.0,
                "scores": {"dense": 0.741, "sparse": 4.13, "fused": 1.0},
                "ranks": {"dense": 1, "sparse": 1, "fused": 1},
            }
        ],
        "score_name": "fused",
        "relevance_name": None,
        "rerank": {"applied": False, "reason": "engine_dead", "candidates": 50, "scored": 0, "ms": 0.0},
    },
    "Two questions at once": {"results": [_RERANKED, {**_RERANKED, "hits": [], "next_cursor": None}]},
}
