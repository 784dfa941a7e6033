"""Catalog: API keys and the audit log."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingestion.access.audit_log import AuditEntry, AuditFilter
from ingestion.access.keys import KeyLimits, StoredKey
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import KeyNotFound
from ingestion.types import JobId
from retrieval.errors import TandemError
from tests.support.stores.catalog import a_collection, a_document

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KEY = StoredKey("key_b", "of a test", "b" * 64, ("search", "ingest"), ("kiln_*", "docs"), NOW, "admin")


class TestKeys:
    async def test_come_back_as_they_were(self, catalog: SqlCatalog) -> None:
        expiring = replace(KEY, id="key_a", digest="a" * 64, expires_at=NOW, last_used_at=NOW)
        for key in (KEY, expiring):
            await catalog.add_key(key)
        assert await catalog.key("key_b") == await catalog.key_with("b" * 64) == KEY
        assert await catalog.key_with("c" * 64) is None
        assert list(await catalog.keys()) == [expiring, KEY]
        assert list(await catalog.keys(after="key_a", limit=1)) == [KEY]
        with pytest.raises(KeyNotFound):
            await catalog.key("key_c")

    async def test_have_limits(self, catalog: SqlCatalog) -> None:
        limited = replace(KEY, limits=KeyLimits(requests_per_minute=60, bytes=2**40))
        await catalog.add_key(limited)
        assert await catalog.key("key_b") == limited

    async def test_have_groups(self, catalog: SqlCatalog) -> None:
        for id_, groups in (("key_a", ()), ("key_b", ("board", "五金"))):
            key = replace(KEY, id=id_, digest=id_, groups=groups)
            await catalog.add_key(key)
            assert await catalog.key(id_) == key

    async def test_count_their_jobs_that_have_not_ended(self, catalog: SqlCatalog) -> None:
        await catalog.add_collection(a_collection())
        for number, key in enumerate(("key_a", "key_b", "key_b", None)):
            documents = [a_document(f"{number}-{each}") for each in range(2)]
            await catalog.accept(JobId(f"job-{number}"), "docs", documents, created_by=key)
        assert [await catalog.unfinished_jobs(key) for key in ("key_a", "key_b", "key_c")] == [1, 2, 0]
        await catalog.cancel_job(JobId("job-1"))
        assert await catalog.unfinished_jobs("key_b") == 1

    async def test_two_never_have_one_digest(self, catalog: SqlCatalog) -> None:
        await catalog.add_key(KEY)
        with pytest.raises(TandemError):
            await catalog.add_key(replace(KEY, id="key_c"))

    async def test_are_rotated_and_revoked(self, catalog: SqlCatalog) -> None:
        await catalog.add_key(KEY)
        await catalog.set_key_digest("key_b", "d" * 64)
        assert await catalog.key_with("b" * 64) is None
        for later in (0, 5):  # the first time stays
            await catalog.revoke_key("key_b", NOW + timedelta(hours=later))
        assert await catalog.key_with("d" * 64) == replace(KEY, digest="d" * 64, revoked_at=NOW)
        for change in (catalog.set_key_digest("key_b", "e" * 64), catalog.revoke_key("key_c", NOW)):
            with pytest.raises(KeyNotFound):
                await change

    async def test_remember_their_last_use(self, catalog: SqlCatalog) -> None:
        await catalog.add_key(KEY)
        for id_ in ("a", "c"):
            await catalog.add_key(replace(KEY, id=f"key_{id_}", digest=id_ * 64))
        await catalog.touch_keys({"key_c", "key_b", "key_unknown"}, NOW)
        assert [(await catalog.key(f"key_{id_}")).last_used_at for id_ in "abc"] == [None, NOW, NOW]

    async def test_count_what_ends_one(self, catalog: SqlCatalog) -> None:
        counts = [await catalog.key_changes()]
        await catalog.add_key(KEY)
        counts.append(await catalog.key_changes())
        await catalog.set_key_digest("key_b", "d" * 64)
        counts.append(await catalog.key_changes())
        await catalog.touch_keys(["key_b"], NOW)
        await catalog.revoke_key("key_b", NOW)
        counts.append(await catalog.key_changes())
        with pytest.raises(KeyNotFound):
            await catalog.revoke_key("key_c", NOW)
        counts.append(await catalog.key_changes())
        assert counts == [counts[0] + each for each in (0, 0, 1, 2, 2)]


def entry(minute: int, **values: object) -> AuditEntry:
    plain = {"key_id": "key_b", "address": "10.0.0.7", "action": "document.delete", "outcome": "ok"}
    return AuditEntry(at=NOW + timedelta(minutes=minute), **{**plain, **values})  # type: ignore[arg-type]


class TestAuditLog:
    async def test_comes_back_latest_first_and_page_by_page(self, catalog: SqlCatalog) -> None:
        made = [
            entry(number, collection="docs", document_id=f"d{number}", subject="s", token_subject="阿达", count=2)
            for number in range(5)
        ]
        await catalog.record(made[:3])
        await catalog.record(made[3:])
        first = await catalog.recorded(AuditFilter(), limit=2)
        rest = await catalog.recorded(AuditFilter(), before=first[-1].id, limit=10)
        assert [replace(each, id=0) for each in (*first, *rest)] == made[::-1]

    async def test_is_filtered(self, catalog: SqlCatalog) -> None:
        await catalog.record(
            [
                entry(0, key_id="key_a"),
                entry(1, collection="docs", outcome="forbidden"),
                entry(2, action="key.create", document_id="d", token_subject="ada"),
            ]
        )

        async def minutes(**values: object) -> list[int]:
            found = await catalog.recorded(AuditFilter(**values))  # type: ignore[arg-type]
            return [each.at.minute - NOW.minute for each in found]

        assert await minutes(key_id="key_a") == [0]
        assert await minutes(collection="docs") == await minutes(outcome="forbidden") == [1]
        assert await minutes(action="key.create") == await minutes(document_id="d") == [2]
        assert await minutes(token_subject="ada") == [2]
        assert await minutes(since=NOW + timedelta(minutes=1), until=NOW + timedelta(minutes=2)) == [1]

    async def test_loses_what_is_old_and_uses_no_id_twice(self, catalog: SqlCatalog) -> None:
        await catalog.record([entry(number) for number in range(4)])
        ids = [each.id for each in await catalog.recorded(AuditFilter())]
        assert await catalog.remove_recorded(before=NOW + timedelta(minutes=9), limit=3) == 3
        assert [each.at.minute - NOW.minute for each in await catalog.recorded(AuditFilter())] == [3]
        assert await catalog.remove_recorded(before=NOW + timedelta(minutes=9), limit=3) == 1
        await catalog.record([entry(9)])
        assert (await catalog.recorded(AuditFilter()))[0].id > max(ids)
