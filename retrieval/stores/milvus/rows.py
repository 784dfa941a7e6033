"""The one layout of collections in Milvus: field names, limits, and rows to and from the kernel's types."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import orjson

from retrieval.errors import StoreFailed
from retrieval.stores.milvus.keys import declared_values
from retrieval.text.passages import passage_of
from retrieval.text.words import joined, of_text
from retrieval.types import Candidate, Chunk, ChunkId, DocumentId, EmbeddedChunk

DENSE: Final = "dense"
SPARSE: Final = "sparse"
GROUPS: Final = "groups"
"""Field of collections with principals."""
CHUNK: Final = ("id", "document_id", "ordinal", "title", "passage", "start", "end", "page", "tokens")
"""Fields of a chunk, in collections of all releases. Always named: without names, Milvus Lite returns the vectors as
well."""
SECTION: Final = ("section", "lead", "header")
"""Fields that collections made before 0.1.0 lack: the section as JSON; the characters of `passage` before the text; how
many of these are the header of a table, line end included."""
LANGUAGE: Final = "language"
"""Field of the document's language, which collections made before 0.1.0 lack."""
PAYLOAD: Final = ("partition", "media_type", "metadata", "ingested_at")
"""Fields of the document that a search returns."""

MAX_BYTES: Final = {
    "id": 512,
    "partition": 1024,
    "document_id": 2048,
    "passage": 65_535,
    "title": 4096,
    "media_type": 255,
    "language": 35,
    "section": 8192,
}
"""Limits of VARCHAR fields. Milvus counts bytes of UTF-8 and allows 65,535 at most."""
MAX_METADATA_BYTES: Final = 65_536

MAX_BATCH_ROWS: Final = 500
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
"""Limit of one upsert message. Servers accept 64 MB; smaller batches keep searches from waiting behind them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Not every supported server has nullable fields, so absence is a value that cannot occur.
_NO_PAGE = 0
_NO_TIME = -(2**63)
PRESENT: Final = {
    "page": f"page != {_NO_PAGE}",
    "ingested_at": f"ingested_at > {_NO_TIME + 1}",
    LANGUAGE: f'{LANGUAGE} != ""',
}
"""Conditions that are true where a row has the field. Every row has the other ones, but for declared metadata keys."""


def to_row(
    embedded: EmbeddedChunk, words_field: str | None = None, *, sections: bool = True, language: bool = True
) -> dict[str, Any]:
    """Returns the row of a chunk, with the field of the passage's words if it is named, and with the fields of SECTION
    and LANGUAGE if the collection has them. Raises StoreFailed, naming the chunk, if a field is longer than Milvus can
    hold.
    """
    chunk = embedded.chunk
    passage = passage_of(embedded.title, chunk)
    row: dict[str, Any] = {
        "id": chunk.id,
        "partition": embedded.partition,
        "document_id": chunk.document_id,
        "ordinal": chunk.ordinal,
        "passage": passage,
        "start": chunk.start,
        "end": chunk.end,
        "page": _NO_PAGE if chunk.page is None else chunk.page,
        "tokens": chunk.tokens,
        "title": embedded.title,
        "media_type": embedded.media_type,
        "metadata": _without_nulls(embedded.metadata),
        "ingested_at": _NO_TIME if embedded.ingested_at is None else milliseconds(embedded.ingested_at),
        DENSE: np.asarray(embedded.vector, dtype=np.float32),
        **declared_values(embedded),
    }
    if embedded.groups is not None:
        row[GROUPS] = list(embedded.groups)
    if sections:
        row["section"] = orjson.dumps(chunk.section).decode()
        row["lead"] = len(passage) - len(chunk.text)
        row["header"] = len(chunk.header) + 1 if chunk.header else 0
    if language:
        row[LANGUAGE] = embedded.language
    if words_field is not None:
        row[words_field] = joined(of_text(row["passage"]), MAX_BYTES["passage"])
    for name, limit in MAX_BYTES.items():
        _check(chunk.id, name, _utf8_size(chunk.id, name, row.get(name, "")), limit)
    try:
        metadata_size = len(orjson.dumps(row["metadata"]))
    except TypeError as error:
        raise StoreFailed(f"Chunk {chunk.id!r}: metadata is not JSON ({error}).", chunk_id=chunk.id) from error
    _check(chunk.id, "metadata", metadata_size, MAX_METADATA_BYTES)
    return row


def to_candidate(entity: Mapping[str, Any], score: float) -> Candidate:
    """Returns a candidate. `entity` holds the fields of CHUNK, PAYLOAD and, if the collection has them, SECTION and
    LANGUAGE.
    """
    ingested_at = entity["ingested_at"]
    return Candidate(
        chunk=to_chunk(entity),
        score=score,
        title=entity["title"],
        media_type=entity["media_type"],
        partition=entity["partition"],
        metadata=entity["metadata"],
        ingested_at=None if ingested_at == _NO_TIME else _EPOCH + timedelta(milliseconds=ingested_at),
        language=entity.get(LANGUAGE, ""),
    )


def to_chunk(entity: Mapping[str, Any]) -> Chunk:
    """Returns a chunk. `entity` holds the fields of CHUNK, and of SECTION if the collection has them."""
    passage, title = entity["passage"], entity["title"]
    path_at = len(title) + 1 if title else 0
    lead, header = entity.get("lead", path_at), entity.get("header", 0)
    return Chunk(
        id=ChunkId(entity["id"]),
        document_id=DocumentId(entity["document_id"]),
        ordinal=entity["ordinal"],
        text=passage[lead:],
        start=entity["start"],
        end=entity["end"],
        tokens=entity["tokens"],
        page=None if entity["page"] == _NO_PAGE else entity["page"],
        section=tuple(orjson.loads(entity["section"])) if "section" in entity else (),
        header=passage[lead - header : lead].removesuffix("\n"),
        path=passage[path_at : lead - header].removesuffix("\n"),
    )


def batches(
    rows: Sequence[EmbeddedChunk], words_field: str | None = None, *, sections: bool = True, language: bool = True
) -> Iterable[list[dict[str, Any]]]:
    """Yields rows in messages of bounded size. Only the last row of an id is kept: servers differ in which row of one
    message wins.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    for embedded in {row.chunk.id: row for row in rows}.values():
        row = to_row(embedded, words_field, sections=sections, language=language)
        row_size = _size(row)
        if batch and (len(batch) == MAX_BATCH_ROWS or size + row_size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def _without_nulls(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Servers differ in whether a key whose value is null exists."""
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in metadata.items()
        if value is not None
    }


def _size(row: Mapping[str, Any]) -> int:
    return int(row[DENSE].nbytes) + sum(len(value) * 4 for value in row.values() if isinstance(value, str)) + 1024


def milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _utf8_size(chunk_id: ChunkId, name: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise StoreFailed(f"Chunk {chunk_id!r}: {name} holds a lone surrogate.", chunk_id=chunk_id) from error


def _check(chunk_id: ChunkId, name: str, size: int, limit: int) -> None:
    if size > limit:
        raise StoreFailed(
            f"Chunk {chunk_id!r}: {name} has {size} bytes of UTF-8; Milvus holds {limit} at most.",
            chunk_id=chunk_id,
            field=name,
            bytes=size,
            limit=limit,
        )
