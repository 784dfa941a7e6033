"""Measures the time that the catalog adds to a document, without parsing, models or vectors:
`python deploy/benchmarks/catalog.py [DOCUMENTS]`, on SQLite or on the empty database of TANDEM_DATABASE_URL."""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from app.settings import Settings, load_settings
from app.wiring.components import build_catalog
from ingestion.ports import Catalog
from ingestion.types import Chunking, Collection, Document, JobId, Outcome, WorkerId
from retrieval.errors import ConfigurationError
from retrieval.types import DocumentId, Fingerprint, StoreName

REQUEST = 256
"""Documents of one POST /ingest."""


def bench_catalog(settings: Settings, console: Console, *, documents: int) -> None:
    """Prints milliseconds per document, for SQLite on this disk or for the empty database of TANDEM_DATABASE_URL.

    Raises ConfigurationError if that database is in use, CatalogUnavailable.
    """
    with TemporaryDirectory(prefix="tandem-bench-") as folder:
        if settings.database_url is None:
            settings = settings.model_copy(update={"data_dir": Path(folder)})
        spent = asyncio.run(_measure(build_catalog(settings), settings, documents, console))
    kind = "SQLite" if settings.database_url is None else "PostgreSQL"
    each = {what: seconds / documents * 1000 for what, seconds in spent.items()}
    table = Table(title=f"{kind}: {documents:,} documents in one queue, claimed by {settings.worker_batch}")
    table.add_column("what")
    table.add_column("ms a document", justify="right")
    for what, milliseconds in each.items():
        table.add_row(what, f"{milliseconds:.3f}")
    together = sum(each[what] for what in ("claim", "complete", "receipts"))
    table.add_row("claim, complete and receipts", f"{together:.3f}", style="bold")
    console.print(table)


async def _measure(catalog: Catalog, settings: Settings, documents: int, console: Console) -> Mapping[str, float]:
    """Returns the total seconds of each step."""
    spent: dict[str, float] = defaultdict(float)
    await catalog.start()
    try:
        if await catalog.collections():
            raise ConfigurationError("TANDEM_DATABASE_URL: to be measured, the database has to be an empty one.")
        name = f"bench-{uuid4().hex[:8]}"
        await catalog.add_collection(_collection(name))
        try:
            jobs = []
            for first in range(0, documents, REQUEST):
                sent = [_document(name, number) for number in range(first, min(first + REQUEST, documents))]
                jobs.append(JobId(uuid4().hex))
                started = perf_counter()
                await catalog.accept(jobs[-1], name, sent)
                spent["accept"] += perf_counter() - started
            console.print(f"{documents:,} documents accepted")
            await _work(catalog, settings, documents, spent)
            for job in jobs:
                started = perf_counter()
                receipts = await catalog.receipts(job)
                spent["receipts"] += perf_counter() - started
                if any(receipt.status != "ready" for receipt in receipts):
                    raise ConfigurationError("TANDEM_DATABASE_URL: another process uses this database.")
        finally:
            await catalog.remove_collection(name)
    finally:
        await catalog.close()
    return spent


async def _work(catalog: Catalog, settings: Settings, documents: int, spent: dict[str, float]) -> None:
    lease = timedelta(seconds=settings.lease_seconds)
    done = 0
    while done < documents:
        now = datetime.now(UTC)
        started = perf_counter()
        claims = await catalog.claim(WorkerId("bench"), limit=settings.worker_batch, lease=lease, now=now)
        claimed = perf_counter()
        if not claims:
            raise ConfigurationError("TANDEM_DATABASE_URL: another process uses this database.")
        outcome = Outcome(claims[0], 3, 600, chunk_digest="0" * 32, searchable_at=now)
        await catalog.complete([replace(outcome, claim=claim) for claim in claims])
        spent["claim"] += claimed - started
        spent["complete"] += perf_counter() - claimed
        done += len(claims)


def _collection(name: str) -> Collection:
    fingerprint = Fingerprint("bench", "0" * 12, 8, True, "1")
    return Collection(name, StoreName(name), fingerprint, "mixed", Chunking(), datetime.now(UTC))


def _document(collection: str, number: int) -> Document:
    return Document(
        collection=collection,
        id=DocumentId(f"folder/document-{number:06}.md"),
        sha256=sha256(f"{collection} {number}".encode()).hexdigest(),
        size=4000,
        media_type="text/markdown",
        title=f"Document {number}",
        metadata={"year": 2020 + number % 5, "tags": ["a", "b"]},
    )


if __name__ == "__main__":
    bench_catalog(load_settings(), Console(), documents=int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
