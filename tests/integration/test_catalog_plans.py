"""How PostgreSQL goes about a statement when what it has counted is old."""

import json

import psycopg
from sqlalchemy.dialects import postgresql

from ingestion.catalog.accepting import holders
from ingestion.catalog.sql import SqlCatalog
from ingestion.types import JobId
from tests.support.catalog import a_collection, a_document


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
        asked = holders("postgresql").params(h=json.dumps([document.sha256 for document in documents]), c="new")
        statement = str(asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        plan = "\n".join(line for (line,) in other.execute(f"EXPLAIN {statement}".encode()))
    await catalog.close()
    assert plan.count("Index Cond: ((sha256)::text = ") == 2, plan
    assert "documents_pkey" not in plan, plan
