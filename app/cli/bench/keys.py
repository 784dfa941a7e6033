"""tandem bench keys: the time that checking a stored API key adds to a request."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.cli.bench.measures import percentile
from app.cli.exit_codes import print_json
from app.http.security.api_keys import ApiKeys
from app.http.security.callers import Callers
from app.settings import Settings
from app.wiring.components import build_catalog
from ingestion.access.keys import StoredKey, digest_of_key, new_secret
from ingestion.ports import Catalog

ADMINISTRATOR = "a-key-of-the-settings-of-this-benchmark"
LATER_USES = 10
"""Of each key."""
COLLECTIONS = ("team_a_*", "team_b_*", "shared")


def bench_keys(settings: Settings, console: Console, *, keys: int, requests: int, as_json: bool = False) -> None:
    """Prints milliseconds per check: of the first use of each of many keys, and of their later uses, with the counts of
    changes that fall into them. SQLite in a temporary folder, or the database of TANDEM_DATABASE_URL, whose keys are
    revoked in the end.
    """
    with TemporaryDirectory(prefix="tandem-bench-") as folder:
        if settings.database_url is None:
            settings = settings.model_copy(update={"data_dir": Path(folder)})
        seen, asked = asyncio.run(_measure(build_catalog(settings), keys, requests, settings.database_url is not None))
    kind = "SQLite" if settings.database_url is None else "PostgreSQL"
    rows = {"first use": asked, "later uses": seen}
    figures = {
        name: {"mean_ms": fmean(times), "median_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}
        for name, times in rows.items()
    }
    if as_json:
        print_json({"database": kind, "keys": keys, "requests": requests, "checks": figures})
        return
    table = Table(title=f"{kind}: {keys:,} stored keys, {requests:,} checks of each kind")
    for column in ("key", "mean, ms", "median, ms", "99 %, ms"):
        table.add_column(column, justify="left" if column == "key" else "right")
    for name, each in figures.items():
        table.add_row(name, f"{each['mean_ms']:.4f}", f"{each['median_ms']:.4f}", f"{each['p99_ms']:.4f}")
    console.print(table)


async def _measure(catalog: Catalog, keys: int, requests: int, shared: bool) -> tuple[Sequence[float], Sequence[float]]:
    """Returns the milliseconds of each check: of keys that were used before, and of their first use."""
    await catalog.start()
    made = []
    try:
        for number in range(keys):
            secret = new_secret()
            now = datetime.now(UTC)
            # As one in use: no check has to write down that it was used.
            key = StoredKey(
                id=f"bench_{number}_{secret[-8:]}",
                name="of a benchmark",
                digest=digest_of_key(secret),
                scopes=("search",),
                collections=COLLECTIONS,
                created_at=now,
                created_by=None,
                last_used_at=now,
            )
            await catalog.add_key(key)
            made.append((key.id, secret))
        step = max(keys // requests, 1)
        used = [f"Bearer {secret}" for _, secret in made[::step]][:requests]
        callers = Callers(ApiKeys([SecretStr(ADMINISTRATOR)]), lambda: catalog)
        asked = await _timed(callers, used)
        seen = await _timed(callers, used * LATER_USES)
        return seen, asked
    finally:
        for id_, _ in made if shared else ():
            await catalog.revoke_key(id_, datetime.now(UTC))
        await catalog.close()


async def _timed(callers: Callers, headers: Sequence[str]) -> Sequence[float]:
    times = []
    for header in headers:
        started = perf_counter()
        caller = await callers.caller(header)
        caller.require("search")
        seen = caller.sees("team_b_reports")
        times.append((perf_counter() - started) * 1000)
        assert seen
    return times
