"""Uploads: what their ids say, and how often they are read."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.types import MAX_ID_BYTES
from ingestion.uploads import MAX_NAME_BYTES, FileService, KnownUpload, file_id, filename_of, read_id

HASH = sha256(b"kiln").hexdigest()
NOW = datetime(2026, 5, 1, 8, tzinfo=UTC)
MAC = bytes(range(16))


class CountedBlobs:
    def __init__(self) -> None:
        self.read: list[str] = []

    async def get(self, hashes: Sequence[str]) -> dict[str, bytes]:
        self.read += hashes
        return {HASH: b"kiln"} if HASH in hashes else {}


async def test_are_read_once() -> None:
    blobs = CountedBlobs()
    files = FileService(None, blobs, None, None, max_bytes=100)  # an upload is known by its id: nothing else is asked
    made = file_id(KnownUpload(HASH, "kiln.txt", NOW, MAC))
    found, data = await files.read(made)
    assert (found.id, found.filename, found.size, data) == (made, "kiln.txt", 4, b"kiln")
    assert blobs.read == [HASH]
    assert await files.find(made) == found


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=75))
def test_say_all_that_is_known(name: str) -> None:
    made = file_id(KnownUpload(HASH, name, NOW, MAC))
    assert read_id(made) == KnownUpload(HASH, name, NOW, MAC)
    assert filename_of(made, "title") == name
    assert made.removeprefix("file-").replace("-", "").replace("_", "").isalnum()


def test_of_the_longest_names_are_no_longer_than_a_document_s() -> None:
    assert len(file_id(KnownUpload(HASH, "a" * MAX_NAME_BYTES, NOW, MAC))) <= MAX_ID_BYTES


@given(st.text(max_size=80))
def test_of_documents_that_came_otherwise_say_nothing(other: str) -> None:
    assert read_id(f"file-{other}") is None
    assert read_id(other) is None


@pytest.mark.parametrize("added", ["=", "A", "\n", " "])
def test_have_one_spelling(added: str) -> None:
    assert read_id(file_id(KnownUpload(HASH, "abcde", NOW, MAC)) + added) is None


def test_are_told_by_the_title_or_the_id_otherwise() -> None:
    assert filename_of("notes/kiln.md", "Kilns") == "Kilns"
    assert filename_of("notes/kiln.md", "") == "notes/kiln.md"
