"""What makes two requests the same one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256

from ingestion.types import Chunking, Document


def request_digest(documents: Sequence[Document], chunking: Chunking | None) -> str:
    """64 hexadecimal digits over what was asked for, however it was sent: all but the media types, which are found out,
    and with the `chunking` of the request, not that which the collection lends it."""
    digest = sha256(json.dumps(chunking and asdict(chunking)).encode())
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
