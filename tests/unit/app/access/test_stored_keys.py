"""Keys that the catalog stores: who holds one, until when, and what of it can be read."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.access.caller import Caller
from app.errors import Forbidden, Unauthorized
from app.http.security.api_keys import ApiKeys
from app.http.security.callers import ASK_SECONDS, FRESH_SECONDS, KEPT_SECONDS, Callers
from ingestion.access.keys import KeyService, StoredKey
from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import CatalogUnavailable, KeyNotFound
from retrieval.errors import InvalidRequest
from tests.unit.app.http.test_tokens import signed, with_secret

FIXED = "a-key-of-the-settings"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """A catalog that counts how often it is asked for a key, and for the changes of all."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self.looks = 0
        self.counts = 0
        self.away = False
        self.answering = asyncio.Event()
        """Clear it, and what the database answered comes late."""
        self.answering.set()
        self.writing = asyncio.Event()
        """The same for writes."""
        self.writing.set()
        self.touched: list[set[str]] = []

    async def key(self, id_: str) -> StoredKey:
        self.looks += 1
        return await self._catalog.key(id_)

    async def key_with(self, digest: str) -> StoredKey | None:
        self.looks += 1
        if self.away:
            raise CatalogUnavailable("The database does not answer.")
        found = await self._catalog.key_with(digest)
        await self.answering.wait()
        return found

    async def key_changes(self) -> int:
        self.counts += 1
        if self.away:
            raise CatalogUnavailable("The database does not answer.")
        found = await self._catalog.key_changes()
        await self.answering.wait()
        return found

    async def touch_keys(self, ids: Collection[str], at: datetime) -> None:
        self.touched.append(set(ids))
        await self.writing.wait()
        await self._catalog.touch_keys(ids, at)


@pytest.fixture
async def catalog(empty_sqlite_url: str) -> AsyncIterator[SqlCatalog]:
    made = SqlCatalog(empty_sqlite_url)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def callers_of(catalog: Counted, clock: Clock) -> Callers:
    return Callers(ApiKeys([SecretStr(FIXED)]), lambda: catalog, clock)  # type: ignore[arg-type,return-value]


async def made(catalog: SqlCatalog, **settings: object) -> tuple[StoredKey, str]:
    given = {"scopes": ("search",), "collections": ("kiln_*",), "created_by": "admin", **settings}
    return await KeyService(catalog).create("of a test", **given)  # type: ignore[arg-type]


async def test_a_stored_key_has_its_scopes_and_collections(catalog: SqlCatalog, clock: Clock) -> None:
    key, secret = await made(catalog, scopes=("ingest", "search"), collections=("kiln_*", "glazes"))
    caller = await callers_of(Counted(catalog), clock).caller(f"Bearer {secret}")
    assert caller == Caller(key.id, frozenset({"search", "ingest"}), ("kiln_*", "glazes"))
    assert [name for name in ("kiln_logs", "glazes", "glazes2", "kiln", "docs") if caller.sees(name)] == [
        "kiln_logs",
        "glazes",
    ]
    caller.require("manage", "ingest")
    with pytest.raises(Forbidden, match="manage is needed"):
        caller.require("manage")


async def test_a_token_in_place_of_a_key_has_the_rights_of_the_key_that_the_settings_name(
    catalog: SqlCatalog, clock: Clock
) -> None:
    key, secret = await made(catalog, scopes=("ingest", "search"))
    counted, bearer = Counted(catalog), f"Bearer {signed(groups=['staff'])}"

    def with_key(token_key: str | None) -> Callers:
        fixed = ApiKeys([SecretStr(FIXED)])
        return Callers(fixed, lambda: counted, clock, tokens=with_secret(), token_key=token_key)  # type: ignore[arg-type,return-value]

    callers = with_key(key.id)
    ada = Caller(key.id, frozenset({"search"}), ("kiln_*",), groups=("staff",), token_subject="ada")
    for _ in range(3):
        assert await callers.caller(bearer) == ada
    assert counted.looks == 1
    assert await callers.caller(f"Bearer {secret}", signed(groups=["staff"])) == ada
    for refused in (
        with_key(None).caller(bearer),
        with_key("key_0").caller(bearer),
        callers.caller(f"Bearer {signed('another secret of thirty-two bytes or so')}"),
        callers.caller(f"Bearer {secret}", "a.b.c"),
        callers_of(counted, clock).caller(f"Bearer {secret}", signed()),
    ):
        with pytest.raises(Unauthorized):
            await refused
    await KeyService(catalog).revoke(key.id)
    clock.now += FRESH_SECONDS
    with pytest.raises(Unauthorized, match="revoked"):
        await callers.caller(bearer)


async def test_a_key_with_groups_only_searches(catalog: SqlCatalog) -> None:
    key, _ = await made(catalog, scopes=("search",), groups=["staff", "board", "staff"])
    assert (await catalog.key(key.id)).groups == ("board", "staff")
    for scopes, groups in ((("search", "ingest"), ["a"]), (("admin",), ["a"]), (("search",), [" a"])):
        with pytest.raises(InvalidRequest):
            await made(catalog, scopes=scopes, collections=("*",), groups=groups)


async def test_admin_may_do_everything_and_has_all_collections(catalog: SqlCatalog, clock: Clock) -> None:
    _, secret = await made(catalog, scopes=("admin",), collections=("*",))
    caller = await callers_of(Counted(catalog), clock).caller(f"Bearer {secret}")
    caller.require("manage")
    assert caller.unlimited
    with pytest.raises(InvalidRequest, match="admin concerns the whole node"):
        await made(catalog, scopes=("admin",), collections=("docs",))


async def test_the_database_holds_no_key(catalog: SqlCatalog, empty_sqlite_url: str) -> None:
    key, secret = await made(catalog)
    assert secret not in repr(key)
    database = Path(empty_sqlite_url.removeprefix("sqlite:///"))
    with sqlite3.connect(database) as connection:
        assert secret not in "\n".join(connection.iterdump())
    assert len(secret) >= len("tandem_") + 43  # 256 bits


async def test_a_revoked_key_stops_when_what_is_known_of_it_is_old(catalog: SqlCatalog, clock: Clock) -> None:
    key, secret = await made(catalog)
    callers = callers_of(Counted(catalog), clock)
    assert (await callers.caller(f"Bearer {secret}")).key_id == key.id
    await KeyService(catalog).revoke(key.id)
    clock.now += FRESH_SECONDS + 0.01
    with pytest.raises(Unauthorized, match="was revoked"):
        await callers.caller(f"Bearer {secret}")
    with pytest.raises(KeyNotFound):
        await KeyService(catalog).rotate(key.id)
    assert FRESH_SECONDS < 1


async def test_a_revoked_key_stops_though_its_look_up_came_before_and_ends_after(
    catalog: SqlCatalog, clock: Clock
) -> None:
    (first, one), (_, other) = [await made(catalog) for _ in range(2)]
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    await callers.caller(f"Bearer {other}")
    counted.answering.clear()
    waiting = asyncio.create_task(callers.caller(f"Bearer {one}"))
    while counted.looks < 2:
        await asyncio.sleep(0)
    while catalog._database._transactions:
        await asyncio.sleep(0)
    await KeyService(catalog).revoke(first.id)
    counted.answering.set()
    clock.now += FRESH_SECONDS
    await callers.caller(f"Bearer {other}")
    await waiting
    with pytest.raises(Unauthorized, match="was revoked"):
        await callers.caller(f"Bearer {one}")


async def test_one_count_serves_all_keys(catalog: SqlCatalog, clock: Clock) -> None:
    secrets = [(await made(catalog))[1] for _ in range(5)]
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    for passed in range(1, 5):
        for secret in secrets:
            await callers.caller(f"Bearer {secret}")
        assert (counted.looks, counted.counts) == (5, passed)
        clock.now += FRESH_SECONDS
    clock.now += KEPT_SECONDS
    await callers.caller(f"Bearer {secrets[0]}")
    assert counted.looks == 6


async def test_a_busy_node_does_not_wait_for_the_count(catalog: SqlCatalog, clock: Clock) -> None:
    _, secret = await made(catalog)
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    await callers.caller(f"Bearer {secret}")
    counted.answering.clear()
    clock.now += ASK_SECONDS
    for _ in range(3):
        await callers.caller(f"Bearer {secret}")
    clock.now += FRESH_SECONDS
    late = asyncio.create_task(callers.caller(f"Bearer {secret}"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not late.done()
    counted.answering.set()
    await late
    assert counted.counts == 2


async def test_a_wrong_key_is_looked_up_once_and_leaves_the_others_known(catalog: SqlCatalog, clock: Clock) -> None:
    _, secret = await made(catalog)
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    for key in (secret, "tandem_wrong", "tandem_wrong", secret):
        await asyncio.gather(callers.caller(f"Bearer {key}"), return_exceptions=True)
    assert counted.looks == 2
    clock.now += FRESH_SECONDS  # it may have been created
    with pytest.raises(Unauthorized):
        await callers.caller("Bearer tandem_wrong")
    assert counted.looks == 3


async def test_a_rotated_key_has_a_new_secret_and_the_same_rights(catalog: SqlCatalog, clock: Clock) -> None:
    key, before = await made(catalog)
    rotated, after = await KeyService(catalog).rotate(key.id)
    callers = callers_of(Counted(catalog), clock)
    assert (rotated.id, rotated.scopes) == (key.id, key.scopes)
    assert (await callers.caller(f"Bearer {after}")).key_id == key.id
    with pytest.raises(Unauthorized):
        await callers.caller(f"Bearer {before}")


async def test_an_expired_key_counts_no_more(catalog: SqlCatalog, clock: Clock) -> None:
    key, secret = await made(catalog, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert key.ended(datetime.now(UTC)) is None
    with pytest.raises(InvalidRequest, match="has passed"):
        await made(catalog, expires_at=datetime.now(UTC))
    with sqlite3.connect(catalog._database._url.database) as connection:  # type: ignore[arg-type]
        connection.execute("UPDATE api_keys SET expires_at = '2020-01-01 00:00:00.000000'")
    with pytest.raises(Unauthorized, match="expired at 2020-01-01"):
        await callers_of(Counted(catalog), clock).caller(f"Bearer {secret}")


async def test_many_requests_at_once_ask_the_database_once(catalog: SqlCatalog, clock: Clock) -> None:
    _, secret = await made(catalog)
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    await asyncio.gather(*(callers.caller(f"Bearer {secret}") for _ in range(50)))
    assert counted.looks == 1
    # What is no stored key is not looked for, and neither are keys of the settings.
    for key in ("wrong", FIXED):
        await asyncio.gather(callers.caller(f"Bearer {key}"), return_exceptions=True)
    assert counted.looks == 1


async def test_without_the_database_a_stored_key_is_not_let_in_and_not_refused_for_ever(
    catalog: SqlCatalog, clock: Clock
) -> None:
    _, secret = await made(catalog)
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    counted.away = True
    with pytest.raises(CatalogUnavailable):
        await callers.caller(f"Bearer {secret}")
    assert (await callers.caller(f"Bearer {FIXED}")).unlimited
    counted.away = False
    assert await callers.caller(f"Bearer {secret}")
    counted.away = True
    assert await callers.caller(f"Bearer {secret}")
    clock.now += FRESH_SECONDS  # whether it was revoked cannot be told any more
    with pytest.raises(CatalogUnavailable):
        await callers.caller(f"Bearer {secret}")


async def test_the_last_use_is_kept(catalog: SqlCatalog, clock: Clock) -> None:
    keys = [await made(catalog) for _ in range(3)]
    counted = Counted(catalog)
    callers = callers_of(counted, clock)
    counted.writing.clear()
    await asyncio.gather(*(callers.caller(f"Bearer {secret}") for _, secret in keys for _ in range(2)))
    counted.writing.set()
    assert callers._touching is not None
    await callers._touching
    assert [(await catalog.key(key.id)).last_used_at is not None for key, _ in keys] == [True] * 3
    assert sorted(id_ for ids in counted.touched for id_ in ids) == sorted(key.id for key, _ in keys)
    assert len(counted.touched) < 3  # in as few writes as can be
