"""Examples of OpenAI's files, and of files in vector stores."""

FILE_ID = "file-aaVDHvPMBbTbSduuSb23Sddk2RPuFfyVPGuKWlmUMzNraWxuLnR4dA"

UPLOAD = {
    "A text": {"file": "The kiln is held at 1280 degrees for an hour.", "purpose": "assistants"},
    "中文文本": {"file": "窑炉在一千二百八十度下保温一小时。", "purpose": "assistants"},
}
_FILE = {
    "id": FILE_ID,
    "object": "file",
    "bytes": 45,
    "created_at": 1_772_439_326,
    "filename": "kiln.txt",
    "purpose": "assistants",
    "status": "processed",
    "expires_at": None,
}
FILE = {"A text": _FILE}
FILES = {
    "One file": {"object": "list", "first_id": FILE_ID, "last_id": FILE_ID, "has_more": False, "data": [_FILE]},
}
FILE_DELETED = {"Gone": {"id": FILE_ID, "object": "file", "deleted": True}}

ADD = {
    "With attributes": {"file_id": FILE_ID, "attributes": {"year": 2024}},
    "For two groups": {"file_id": FILE_ID, "groups": ["board", "staff"]},
    "中文属性": {
        "file_id": FILE_ID,
        "attributes": {"部门": "法务部"},
        "chunking_strategy": {
            "type": "static",
            "static": {"max_chunk_size_tokens": 256, "chunk_overlap_tokens": 32},
        },
    },
}
UPDATE = {"Another year": {"attributes": {"year": 2025}}, "中文属性": {"attributes": {"部门": "工程部"}}}
ADD_BATCH = {
    "Files with the same attributes": {"file_ids": [FILE_ID], "attributes": {"year": 2024}},
    "中文属性": {"files": [{"file_id": FILE_ID, "attributes": {"部门": "法务部"}}]},
}

_COMPLETED = {
    "id": FILE_ID,
    "object": "vector_store.file",
    "created_at": 1_772_439_327,
    "vector_store_id": "vs_kiln_logs",
    "status": "completed",
    "usage_bytes": 45,
    "last_error": None,
    "attributes": {"year": 2024},
    "groups": None,
    "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 512, "chunk_overlap_tokens": 64}},
}
_FAILED = {
    **_COMPLETED,
    "id": "合同扫描件.pdf",
    "status": "failed",
    "usage_bytes": 218_406,
    "last_error": {"code": "invalid_file", "message": "The document was read and holds no text."},
    "attributes": {"部门": "法务部"},
}
IN_STORE = {"Waiting": {**_COMPLETED, "status": "in_progress"}, "Searchable": _COMPLETED, "处理失败": _FAILED}
ALL_IN_STORE = {
    "Two files": {
        "object": "list",
        "first_id": FILE_ID,
        "last_id": "合同扫描件.pdf",
        "has_more": False,
        "data": [_COMPLETED, _FAILED],
    }
}
REMOVED = {"Gone": {"id": FILE_ID, "object": "vector_store.file.deleted", "deleted": True}}

BATCH = {
    "Half done": {
        "id": "vsfb_d5cdb830ed9846889e048cd41ca2742f",
        "object": "vector_store.files_batch",
        "created_at": 1_772_439_327,
        "vector_store_id": "vs_kiln_logs",
        "status": "in_progress",
        "file_counts": {"in_progress": 1, "completed": 1, "failed": 0, "cancelled": 0, "total": 2},
    }
}
