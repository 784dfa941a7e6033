from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from retrieval.errors import StoreFailed
from retrieval.stores.milvus.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS, batches, to_candidate, to_row
from retrieval.types import Chunk, ChunkId, DocumentId, EmbeddedChunk


def embedded(chunk_id: str = "c", text: str = "text", dimension: int = 2, **fields: Any) -> EmbeddedChunk:
    chunk = Chunk(ChunkId(chunk_id), DocumentId("d"), ordinal=3, text=text, start=10, end=10 + len(text), tokens=1)
    return EmbeddedChunk(chunk, np.ones(dimension, dtype=np.float32), **fields)


def test_a_row_and_back() -> None:
    source = embedded(
        title="t", media_type="m/n", partition="p", metadata={"a": [1]}, ingested_at=datetime(2026, 5, 1, tzinfo=UTC)
    )
    candidate = to_candidate(to_row(source), 0.5)
    assert candidate.chunk == source.chunk
    assert (candidate.title, candidate.media_type, candidate.partition) == ("t", "m/n", "p")
    assert (candidate.metadata, candidate.ingested_at, candidate.score) == ({"a": [1]}, source.ingested_at, 0.5)


@pytest.mark.parametrize("title", ["", "t"])
@pytest.mark.parametrize("path", ["", "Guide > Install"])
@pytest.mark.parametrize("header", ["", "| a | b |\n| - | - |"])
def test_what_is_read_before_a_text_comes_back_apart(title: str, path: str, header: str) -> None:
    source = embedded(text="| 1 | 2 |\nafter", title=title)
    chunk = replace(source.chunk, section=("Guide", "安装"), path=path, header=header)
    row = to_row(replace(source, chunk=chunk))
    assert row["passage"] == "\n".join(part for part in (title, path, header, "| 1 | 2 |\nafter") if part)
    assert to_candidate(row, 0).chunk == chunk


def test_a_row_of_a_collection_without_sections_has_no_field_for_them() -> None:
    row = to_row(embedded(title="t"), sections=False)
    assert not {"section", "lead", "header"} & row.keys()
    assert to_candidate(row, 0).chunk == embedded().chunk


def test_what_is_absent_stays_absent_and_the_first_moments_are_not_absent() -> None:
    assert to_candidate(to_row(embedded()), 0).chunk.page is None
    assert to_candidate(to_row(embedded()), 0).ingested_at is None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert to_candidate(to_row(embedded(ingested_at=epoch)), 0).ingested_at == epoch


def test_times_are_kept_to_the_millisecond_in_any_zone() -> None:
    moment = datetime(2026, 5, 1, 8, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=8)))
    assert to_candidate(to_row(embedded(ingested_at=moment)), 0).ingested_at == datetime(
        2026, 5, 1, 0, 0, 0, 123_000, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"text": "é" * 32_768}, "passage has 65536 bytes of UTF-8; Milvus holds 65535"),
        ({"title": "x" * 4097}, "title has 4097 bytes"),
        ({"partition": "x" * 1025}, "partition"),
        ({"metadata": {"k": "x" * 65_536}}, "metadata"),
        ({"metadata": {"k": object()}}, "metadata is not JSON"),
        ({"text": "\udfff"}, "lone surrogate"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_name_of_the_chunk(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StoreFailed, match=f"'c'.*{complaint}") as refusal:
        to_row(embedded(**fields))
    assert refusal.value.detail["chunk_id"] == "c"


def test_batches_are_bounded_by_rows() -> None:
    rows = [embedded(f"c{n}") for n in range(2 * MAX_BATCH_ROWS + 1)]
    assert [len(batch) for batch in batches(rows)] == [MAX_BATCH_ROWS, MAX_BATCH_ROWS, 1]


def test_batches_are_bounded_by_bytes() -> None:
    rows = [embedded(f"c{n}", text="x" * 60_000, dimension=4096) for n in range(100)]
    sizes = [len(batch) for batch in batches(rows)]
    assert sum(sizes) == 100
    assert max(sizes) * 4 * (60_000 + 4096) <= MAX_BATCH_BYTES
    assert min(sizes[:-1]) > 20


def test_one_row_larger_than_a_batch_travels_alone() -> None:
    wide = MAX_BATCH_BYTES // 4 + 1
    assert [len(batch) for batch in batches([embedded("a"), embedded("b", dimension=wide), embedded("c")])] == [1, 1, 1]


def test_of_the_same_id_the_last_row_stays() -> None:
    first = embedded(text="old")
    (batch,) = batches([first, embedded("other"), replace(first, title="new")])
    assert [(row["id"], row["title"]) for row in batch] == [("c", "new"), ("other", "")]


def test_no_rows_make_no_batch() -> None:
    assert list(batches([])) == []
