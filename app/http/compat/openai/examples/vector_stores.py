"""OpenAI's vector stores: collections."""

CREATE = {
    "An empty one": {"name": "kiln_logs"},
    "中文名称": {"name": "窑炉日志 2026"},
}
UPDATE = {"The name it has": {"name": "kiln_logs"}}

_COUNTS = {"in_progress": 0, "completed": 2, "failed": 0, "cancelled": 0, "total": 2}
_STORE = {
    "id": "vs_kiln_logs",
    "object": "vector_store",
    "created_at": 1_772_439_326,
    "name": "kiln_logs",
    "usage_bytes": 168,
    "file_counts": _COUNTS,
    "status": "completed",
    "expires_after": None,
    "expires_at": None,
    "last_active_at": None,
    "metadata": {},
}
ONE = {"Two files": _STORE}
LIST = {
    "One store": {
        "object": "list",
        "first_id": "vs_kiln_logs",
        "last_id": "vs_kiln_logs",
        "has_more": False,
        "data": [_STORE],
    }
}
DELETED = {"Gone": {"id": "vs_kiln_logs", "object": "vector_store.deleted", "deleted": True}}

QUESTIONS = {
    "A question": {
        "query": "How hot is the kiln?",
        "max_num_results": 5,
        "filters": {"type": "gte", "key": "year", "value": 2024},
    },
    "中文提问": {"query": "窑炉的温度是多少？", "ranking_options": {"score_threshold": 0.5}},
    "Two questions, unranked": {"query": ["kiln", "glaze"], "ranking_options": {"ranker": "none"}},
}
ANSWERS = {
    "A chunk": {
        "object": "vector_store.search_results.page",
        "search_query": ["How hot is the kiln?"],
        "data": [
            {
                "file_id": "file-aaVDHvPMBbTbSduuSb23Sddk2RPuFfyVPGuKWlmUMzNraWxuLnR4dA",
                "filename": "kiln.txt",
                "score": 0.982,
                "attributes": {"year": 2024},
                "content": [{"type": "text", "text": "The kiln is held at 1280 degrees for an hour."}],
            }
        ],
        "has_more": False,
        "next_page": None,
        "stages": [
            {
                "score_name": "rerank",
                "recall": {
                    "mode": "hybrid",
                    "candidates": 50,
                    "reason": None,
                    "weights": {"dense": 1.0, "sparse": 1.0},
                },
                "rerank": {"applied": True, "reason": None, "candidates": 50, "scored": 50, "ms": 38.6},
            }
        ],
    }
}
