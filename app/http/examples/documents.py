"""Records of documents."""

from app.http.examples.ingest import NO_TEXT, UNREMARKABLE

_KILN = {
    "id": "kiln",
    "collection": "manuals",
    "state": "ready",
    "version": 1,
    "title": "Operating the kiln",
    "media_type": "text/plain",
    "language": "en",
    "partition": "workshop",
    "metadata": {"year": 2024, "machine": "kiln"},
    "groups": None,
    "sha256": "f3cc05b4db4d79abae549bd748745d913ead13e55fc53836b8a5c5953a333808",
    "size": 84,
    "chunks": 1,
    "tokens": 19,
    "truncated_tokens": 0,
    "ingested_at": "2026-03-02T08:15:26.002070Z",
    "searchable_at": "2026-03-02T08:15:26.851072Z",
    "error": None,
    "report": UNREMARKABLE,
}
_SCAN = {
    "id": "合同扫描件.pdf",
    "collection": "hetong",
    "state": "failed",
    "version": 1,
    "title": "",
    "media_type": "application/pdf",
    "language": None,
    "partition": "法务部",
    "metadata": {},
    "groups": None,
    "sha256": "39307ba0137d6ecffcbd4f776a88db8c9ff09e90a2ac5b7adf4af069582f2fee",
    "size": 218_406,
    "chunks": 0,
    "tokens": 0,
    "truncated_tokens": 0,
    "ingested_at": "2026-03-02T08:16:40.871203Z",
    "searchable_at": None,
    "error": {"code": "no_text", "message": NO_TEXT},
    "report": UNREMARKABLE,
}

ONE = {"Searchable": _KILN, "处理失败": _SCAN}
LIST = {"A page of one": {"documents": [_KILN], "next_cursor": "kiln"}}
_KILN_TEXT = "The kiln is held at 1280 degrees for an hour. It cools overnight with the door shut."
TEXT = {
    "A whole text": {
        "id": "kiln",
        "collection": "manuals",
        "title": "Operating the kiln",
        "media_type": "text/plain",
        "searchable_at": "2026-03-02T08:15:26.851072Z",
        "text": _KILN_TEXT,
        "start": 0,
        "end": 84,
        "next_cursor": None,
    }
}
CHUNKS = {
    "All chunks": {
        "id": "kiln",
        "collection": "manuals",
        "searchable_at": "2026-03-02T08:15:26.851072Z",
        "total": 1,
        "chunks": [
            {
                "chunk_id": "c0c60bb85358c74f86363c18c8419505",
                "ordinal": 0,
                "text": _KILN_TEXT,
                "start": 0,
                "end": 84,
                "page": None,
                "section": [],
                "tokens": 19,
            }
        ],
        "next_cursor": None,
    }
}
ORIGINAL = {
    "A text": "The kiln is lit at dawn and held at 960 degrees for an hour.",
    "中文文本": "窑炉在清晨点火，在九百六十度下保温一小时。",
}
