"""Examples of API keys and of the audit log."""

CREATE = {
    "A team that searches its own collections": {
        "name": "search of the kiln team",
        "scopes": ["search"],
        "collections": ["kiln_*", "glazes"],
        "expires_at": "2030-01-01T00:00:00Z",
        "limits": {"requests_per_minute": 600, "candidates_per_minute": 30_000},
    },
    "A tenant of a shared collection": {
        "name": "shop of the mill",
        "scopes": ["search", "ingest"],
        "collections": ["shops"],
        "tenant": "mill",
    },
    "A search of what customers may read": {
        "name": "search of the web site",
        "scopes": ["search"],
        "collections": ["manuals"],
        "filter": {"type": "eq", "key": "metadata.audience", "value": "customers"},
    },
    "A member of two groups": {
        "name": "assistant of the board",
        "scopes": ["search"],
        "collections": ["minutes"],
        "groups": ["board", "staff"],
    },
    "An administrator": {"name": "operations", "scopes": ["admin"]},
}
_KEY = {
    "id": "key_2f1c8a90d4e6b375",
    "name": "search of the kiln team",
    "scopes": ["search"],
    "collections": ["kiln_*", "glazes"],
    "created_at": "2026-03-02T09:14:05Z",
    "created_by": "5e884898da28",
    "expires_at": "2030-01-01T00:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "tenant": None,
    "filter": None,
    "groups": None,
    "limits": {
        "requests_per_minute": 600,
        "texts_per_minute": None,
        "candidates_per_minute": 30_000,
        "documents": None,
        "bytes": None,
        "queued_jobs": None,
    },
}
NEW = {"The key, shown this once": {**_KEY, "key": "tandem_kVnZ0m3b5Qy7wXc1rTtL9eUu2HhGgFfDdSsAaPpOoIi"}}
ONE = {"A key": {**_KEY, "last_used_at": "2026-03-02T10:00:00Z"}}
LIST = {"One key": {"keys": [_KEY], "next_cursor": None}}
LOG = {
    "A deletion and a refusal": {
        "entries": [
            {
                "id": 1842,
                "at": "2026-03-02T10:21:44Z",
                "key_id": "key_2f1c8a90d4e6b375",
                "address": "10.0.4.17",
                "action": "request",
                "outcome": "forbidden",
                "collection": "glazes",
                "document_id": None,
                "subject": "DELETE /documents/guides/kiln.md",
                "token_subject": "ada@example.org",
                "count": 1,
            },
            {
                "id": 1841,
                "at": "2026-03-02T10:20:02Z",
                "key_id": "5e884898da28",
                "address": "10.0.4.2",
                "action": "document.delete",
                "outcome": "ok",
                "collection": "glazes",
                "document_id": "guides/kiln.md",
                "subject": None,
                "token_subject": None,
                "count": 1,
            },
        ],
        "next_cursor": "1841",
    }
}
