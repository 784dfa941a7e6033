"""Liveness, readiness and metrics."""

LIVE = {"It lives": {"live": True}}

READY = {
    "Ready": {
        "ready": True,
        "phase": "serving",
        "checks": {
            "catalog": {"ok": True, "detail": "ok"},
            "store": {"ok": True, "detail": "ok"},
            "embedder": {"ok": True, "detail": "ok"},
            "reranker": {"ok": True, "detail": "ok"},
            "self_test": {"ok": True, "detail": "ok"},
        },
        "models": {"embed": "Qwen3-Embedding-0.6B", "rerank": "Qwen3-Reranker-0.6B"},
        "devices": [
            {"name": "0", "ok": True, "detail": "ok", "restarts": 0},
            {
                "name": "1",
                "ok": False,
                "detail": "The engine of Qwen3-Reranker-0.6B died; it is being restarted",
                "restarts": 0,
            },
        ],
        "store": "milvus 2.6.2",
        "self_test": [
            {"ok": True, "detail": "embed.unit_norm: distance from length 1 5.96046e-08, at most 0.001"},
            {"ok": True, "detail": "rerank.deterministic: difference of a repetition 0, at most 0.005"},
        ],
    }
}

NOT_READY = {
    "Starting": {
        "ready": False,
        "phase": "starting",
        "checks": {"node": {"ok": False, "detail": "The node is starting the embedder."}},
        "models": None,
        "store": None,
        "self_test": [],
    }
}

METRICS = {
    "Two of them": "# HELP tandem_ready 1 while the node is ready\n# TYPE tandem_ready gauge\ntandem_ready 1.0\n"
    "# HELP tandem_ingest_queue_documents Documents waiting or being ingested\n"
    "# TYPE tandem_ingest_queue_documents gauge\ntandem_ingest_queue_documents 12.0\n"
}
