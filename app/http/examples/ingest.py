"""Ingestion of documents, and jobs."""

UNREMARKABLE = {"pages": 0, "pages_without_text": [], "ocr_pages": [], "ocr_confidence": None, "warnings": []}
"""The report of a document without pages."""
NO_TEXT = (
    "The document holds no text. No text could be read on pages 1 to 3. OCR is turned off here (TANDEM_OCR=never)."
)
SCANNED = {
    "pages": 4,
    "pages_without_text": [4],
    "ocr_pages": [2, 3],
    "ocr_confidence": 0.987,
    "warnings": [
        "No text could be read on page 4. OCR found no text there either.",
        "OCR read pages 2 to 3, with a mean confidence of 98.7%.",
    ],
}

REQUESTS = {
    "Text, with metadata": {
        "collection": "manuals",
        "documents": [
            {
                "id": "kiln",
                "title": "Operating the kiln",
                "text": "The kiln is held at 1280 degrees for an hour. It cools overnight with the door shut.",
                "partition": "workshop",
                "metadata": {"year": 2024, "machine": "kiln"},
            },
            {"id": "glaze", "text": "Stir the glaze before every use, and sieve it once a week."},
        ],
    },
    "中文文本，等待完成": {
        "collection": "hetong",
        "documents": [
            {
                "id": "zulin-2024-017",
                "title": "厂房租赁合同",
                "text": "第三条 租金按季支付，每季首月五日前付清。逾期超过三十日的，出租方有权解除合同。",
                "partition": "法务部",
                "metadata": {"year": 2024},
            }
        ],
        "wait": True,
    },
    "A file in Base64": {
        "documents": [
            {
                "content_base64": "IyBDYXJlIG9mIHRoZSBsb29tCgpPaWwgdGhlIGxvb20gZXZlcnkgc3ByaW5nLgo=",
                "filename": "loom.md",
            }
        ],
        "chunking": {"max_tokens": 128, "overlap": 16},
    },
    "Minutes that two groups read": {
        "collection": "minutes",
        "documents": [
            {"id": "2026-03", "text": "The board decided to build a second kiln.", "groups": ["board", "staff"]}
        ],
    },
}

FORMS = {
    "Files": {"files": ["manual.pdf", "报告.docx"], "data": {"collection": "docs", "metadata": {"year": 2024}}},
}
"""Multipart requests; the names stand for the bytes of the files."""

ACCEPTED = {
    "Queued": {
        "job_id": "d5cdb830ed9846889e048cd41ca2742f",
        "documents": [
            {"id": "kiln", "status": "queued", "of": None},
            {"id": "glaze", "status": "unchanged", "of": None},
        ],
    }
}

_ENGLISH = {
    "job_id": "d5cdb830ed9846889e048cd41ca2742f",
    "collection": "manuals",
    "state": "running",
    "progress": {"documents": 2, "done": 1, "failed": 0, "chunks": 1, "tokens": 19},
    "created_at": "2026-03-02T08:15:26.002070Z",
}
_CHINESE = {
    "job_id": "7f36eeba2a39410bbc1f55713bdb1ff6",
    "collection": "hetong",
    "state": "partial",
    "progress": {"documents": 2, "done": 2, "failed": 1, "chunks": 1, "tokens": 31},
    "created_at": "2026-03-02T08:16:40.871203Z",
}

JOBS = {
    "Running": {
        **_ENGLISH,
        "documents": [
            {
                "id": "kiln",
                "status": "ready",
                "chunks": 1,
                "tokens": 19,
                "truncated_tokens": 0,
                "reused_chunks": 0,
                "searchable_at": "2026-03-02T08:15:26.851072Z",
                "duplicate_of": None,
                "error": None,
                "report": UNREMARKABLE,
            },
            {
                "id": "glaze",
                "status": "queued",
                "chunks": 0,
                "tokens": 0,
                "truncated_tokens": 0,
                "reused_chunks": 0,
                "searchable_at": None,
                "duplicate_of": None,
                "error": None,
                "report": UNREMARKABLE,
            },
        ],
        "next_cursor": None,
        "skipped": [],
    },
    "部分失败": {
        **_CHINESE,
        "documents": [
            {
                "id": "zulin-2024-017",
                "status": "ready",
                "chunks": 1,
                "tokens": 31,
                "truncated_tokens": 0,
                "reused_chunks": 0,
                "searchable_at": "2026-03-02T08:16:41.333018Z",
                "duplicate_of": None,
                "error": None,
                "report": SCANNED,
            },
            {
                "id": "合同扫描件.pdf",
                "status": "failed",
                "chunks": 0,
                "tokens": 0,
                "truncated_tokens": 0,
                "reused_chunks": 0,
                "searchable_at": None,
                "duplicate_of": None,
                "error": {"code": "no_text", "message": NO_TEXT},
                "report": UNREMARKABLE,
            },
        ],
        "next_cursor": None,
        "skipped": [
            {"name": "报价.eml/安装.exe", "reason": "The document is application/x-msdownload, which is not read here."}
        ],
    },
}

EVENTS = {
    "Two changes": 'event: job\r\ndata: {"job_id":"d5cdb830ed9846889e048cd41ca2742f","collection":"manuals",'
    '"state":"running","progress":{"documents":2,"done":1,"failed":0,"chunks":1,"tokens":19},'
    '"created_at":"2026-03-02T08:15:26.002070Z"}\r\n\r\n'
    'event: job\r\ndata: {"job_id":"d5cdb830ed9846889e048cd41ca2742f","collection":"manuals",'
    '"state":"succeeded","progress":{"documents":2,"done":2,"failed":0,"chunks":2,"tokens":32},'
    '"created_at":"2026-03-02T08:15:26.002070Z"}\r\n\r\n'
}
