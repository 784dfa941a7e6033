"""Prepares documents for ingestion: reads files, splits documents into requests, and checks their receipts."""

from asyncio import to_thread
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_tandem.client.errors import IngestFailed

T = TypeVar("T")
Json = dict[str, Any]
Files = Sequence[tuple[str, Path]]
"""Pairs of a document id and a path."""

DOCUMENTS_A_REQUEST = 100
BYTES_A_REQUEST = 8 << 20


def content_as_base64(document: Mapping[str, Any]) -> Json:
    """The document with the bytes in `content`, if any, as `content_base64`."""
    sent = dict(document)
    if isinstance(content := sent.pop("content", None), bytes):
        sent["content_base64"] = b64encode(content).decode()
    return sent


def read_files(files: Files) -> list[tuple[str, bytes]]:
    """Document ids and the contents of their files. Raises OSError."""
    return [(document_id, path.read_bytes()) for document_id, path in files]


async def aread_files(files: Files) -> list[tuple[str, bytes]]:
    """The same without blocking the event loop."""
    return await to_thread(read_files, files)


def size_of(document: Mapping[str, Any]) -> int:
    """Approximate size of a document in a request, in bytes."""
    return len(document.get("text") or document.get("content") or document.get("content_base64") or "")


def batches(items: Iterable[T], size: Callable[[T], int], bytes_a_request: int = BYTES_A_REQUEST) -> Iterator[list[T]]:
    """Splits items into batches of at most DOCUMENTS_A_REQUEST items and `bytes_a_request` bytes; `size` measures an
    item in bytes. An item that is larger than the limit forms a batch of its own."""
    batch: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if batch and (len(batch) == DOCUMENTS_A_REQUEST or total + length > bytes_a_request):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += length
    if batch:
        yield batch


def checked(receipts: list[Json]) -> list[Json]:
    """Returns the receipts. Raises IngestFailed if any document failed."""
    failed = [receipt for receipt in receipts if receipt["error"]]
    if failed:
        shown = "; ".join(f"{each['id']}: {each['error']['message']} ({each['error']['code']})" for each in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise IngestFailed(f"{len(failed)} of {len(receipts)} documents failed. {shown}{more}", failed)
    return receipts
