"""Originals that lose their last owner, on parts in memory."""

from hashlib import sha256

import pytest

from ingestion.blobs.gc import AT_ONCE, BlobCollector
from ingestion.errors import BlobStoreUnavailable
from tests.support.stores.audited import LONG_AGO, Audited

UNOWNED = [sha256(f"text of late-{number}".encode()).hexdigest() for number in range(2 * AT_ONCE + 1)]


@pytest.fixture
def parts(audited: Audited) -> Audited:
    """With blobs that no document refers to."""
    for number, digest in enumerate(UNOWNED):
        audited.blobs.kept[digest] = (f"text of late-{number}".encode(), LONG_AGO)
    return audited


async def retire(parts: Audited) -> None:
    await BlobCollector(parts.catalog, parts.blobs).retire(list(parts.blobs.kept))  # type: ignore[arg-type]


async def test_those_that_have_no_owner_go_and_the_others_stay(parts: Audited) -> None:
    owned = parts.blobs.kept.keys() - set(UNOWNED)
    await retire(parts)
    assert parts.blobs.kept.keys() == owned


async def test_one_that_finds_an_owner_meanwhile_comes_back(parts: Audited) -> None:
    parts.blobs.before["get"] = lambda: parts.add("late-3")
    await retire(parts)
    assert parts.blobs.kept.keys() & set(UNOWNED) == {UNOWNED[3]}


async def test_one_that_finds_an_owner_comes_back_although_another_cannot_be_deleted(
    parts: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = parts.blobs.delete

    async def failing(digest: str) -> None:
        await delete(digest)
        if digest == sorted(UNOWNED)[0]:
            raise BlobStoreUnavailable("The disk is gone.")

    late = next(number for number, digest in enumerate(UNOWNED) if digest == sorted(UNOWNED)[1])
    monkeypatch.setattr(parts.blobs, "delete", failing)
    parts.blobs.before["get"] = lambda: parts.add(f"late-{late}")
    with pytest.raises(BlobStoreUnavailable):
        await retire(parts)
    assert UNOWNED[late] in parts.blobs.kept
