"""Golden queries, and a collection's move to another model or chunking."""

GOLDEN = {
    "English and Chinese": {
        "queries": [
            {"query": "How hot is the kiln?", "relevant": ["kiln"]},
            {"query": "釉料多久过筛一次？", "relevant": ["glaze"]},
        ]
    }
}

REQUESTS = {
    "Smaller chunks": {"chunking": {"max_tokens": 128, "overlap": 16}, "tolerance": 0.02},
    "另一个模型": {"models": "qwen3-4b", "golden": GOLDEN["English and Chinese"]["queries"]},
    "Shorter vectors, unmeasured": {"dimension": 256, "gate": False},
}

_FILLING = {
    "collection": "manuals",
    "phase": "filling",
    "documents": 1200,
    "done": 380,
    "failed": 0,
    "verdict": None,
    "message": "",
}

STARTED = {"Begun": {**_FILLING, "done": 0}}
STATUS = {
    "On its way": _FILLING,
    "Exchanged": {
        **_FILLING,
        "phase": "flipped",
        "done": 1200,
        "verdict": {
            "queries": 40,
            "before": 0.871,
            "after": 0.889,
            "before_reranked": 0.902,
            "after_reranked": 0.914,
            "tolerance": 0.01,
            "passed": True,
        },
        "message": "nDCG@10 over 40 queries went from 0.871 to 0.889 (recall) and from 0.902 to 0.914 (reranked), "
        "within the tolerance of 0.01.",
    },
}
