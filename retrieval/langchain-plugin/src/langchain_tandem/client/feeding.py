"""Documents on their way in: how they are read, how many go into a request, and what their receipts say."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_tandem.client.errors import IngestFailed

Json = dict[str, Any]
Files = Sequence[tuple[str, Path]]
"""Document ids and paths."""

DOCUMENTS_A_REQUEST = 100
BYTES_A_REQUEST = 8 << 20


def content_as_base64(document: Mapping[str, Any]) -> Json:
    sent = dict(document)
    if isinstance(content := sent.pop("content", None), bytes):
        sent["content_base64"] = b64encode(content).decode()
    return sent


def read_files(files: Files) -> list[tuple[str, bytes]]:
    return [(document_id, path.read_bytes()) for document_id, path in files]


def batches(documents: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """As many documents as go well into one request."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for document in documents:
        length = len(document.get("text") or document.get("content") or document.get("content_base64") or "")
        if batch and (len(batch) == DOCUMENTS_A_REQUEST or size + length > BYTES_A_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += length
    if batch:
        yield batch


def checked(receipts: list[Json]) -> list[Json]:
    """Raises IngestFailed where a document did not become searchable."""
    failed = [receipt for receipt in receipts if receipt["error"]]
    if failed:
        shown = "; ".join(f"{each['id']}: {each['error']['message']} ({each['error']['code']})" for each in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise IngestFailed(f"{len(failed)} of {len(receipts)} documents failed. {shown}{more}", failed)
    return receipts
