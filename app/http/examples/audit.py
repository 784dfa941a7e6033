"""Audits."""

REQUESTS = {"Everything, looked at": {}, "一个集合，并修复": {"collection": "hetong", "repair": True}}

_CLEAN = {
    "clean": True,
    "repair": False,
    "started_at": "2026-03-02T03:00:00.104331Z",
    "seconds": 42.7,
    "collections": 2,
    "documents": 1840,
    "chunks": 27_514,
    "blobs": 1838,
    "findings": [],
    "notes": [],
}

REPORTS = {
    "Clean": _CLEAN,
    "Repaired": {
        **_CLEAN,
        "repair": True,
        "findings": [
            {
                "kind": "chunks_without_document",
                "collection": "hetong",
                "count": 3,
                "repaired": 3,
                "examples": ["zulin-2019-004"],
            }
        ],
    },
}
