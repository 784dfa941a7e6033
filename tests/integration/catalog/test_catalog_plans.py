"""How databases go about statements: PostgreSQL also when what it has counted is old."""

import json
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import create_async_engine

from ingestion.catalog.catalog import SqlCatalog
from ingestion.catalog.database import parse_url
from ingestion.catalog.queue.leases import due
from ingestion.catalog.queue.submit import holders
from ingestion.types import JobId
from tests.support.stores.catalog import NOW, a_collection, a_document


async def test_duplicates_are_looked_for_by_hash_in_a_collection_newer_than_the_statistics(postgres_url: str) -> None:
    # Once it read the whole collection for each hash: 2.5 s for a request of 256 documents beside 8,000.
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    await catalog.accept(JobId("old"), "docs", [a_document(f"{number}") for number in range(300)])
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("ANALYZE")
        await catalog.add_collection(a_collection("new"))
        documents = [a_document(f"new {number}", collection="new") for number in range(2000)]
        await catalog.accept(JobId("new"), "new", documents)
        asked = holders("postgresql").params(
            h=json.dumps([document.sha256 for document in documents]), c="new", p="tenant"
        )
        statement = str(asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        plan = "\n".join(line for (line,) in other.execute(f"EXPLAIN {statement}".encode()))
    await catalog.close()
    assert plan.count("Index Cond: ((sha256)::text = ") == 2, plan
    assert "documents_pkey" not in plan, plan


@pytest.mark.parametrize("jobs", [1, 300])
async def test_claims_read_the_queue_in_its_order_and_no_further(
    catalog: SqlCatalog, database_url: str, jobs: int
) -> None:
    await catalog.add_collection(a_collection())
    for job in range(jobs):
        documents = [a_document(f"{job} {number}") for number in range(3000 // jobs)]
        await catalog.accept(JobId(f"{job}"), "docs", documents)
    url = parse_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    dialect = sqlite.dialect() if is_sqlite else postgresql.dialect()
    query = due(64, NOW + timedelta(days=1), background=False)
    statement = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        if not is_sqlite:
            await connection.execute(text("ANALYZE"))
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
        rows = await connection.exec_driver_sql(f"{explain} {statement}")
        plan = "\n".join(str(row[-1]) for row in rows)
    await engine.dispose()
    assert "documents_due" in plan
    # Whoever sorts has read all that is due.
    assert "Sort" not in plan, plan
    assert "TEMP B-TREE" not in plan, plan
