"""What makes two requests the same one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256

from ingestion.types import Chunking, Document, OcrMode


def request_digest(documents: Sequence[Document], chunking: Chunking | None, ocr: OcrMode | None = None) -> str:
    """64 hexadecimal digits over what was asked for, however it was sent: all but the media types, which are found out,
    and with the `chunking` and `ocr` of the request, not those which the collection and the node lend it."""
    digest = sha256(json.dumps(chunking and asdict(chunking)).encode())
    if ocr is not None:
        digest.update(ocr.encode())
    for document in documents:
        asked = (
            document.collection,
            document.id,
            document.sha256,
            document.title,
            document.partition,
            dict(document.metadata),
        )
        digest.update(json.dumps(asked, sort_keys=True).encode())
    return digest.hexdigest()
