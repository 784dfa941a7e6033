"""The benchmark of the catalog on both databases."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from app.settings import Settings
from deploy.benchmarks.catalog import REQUEST, bench_catalog
from ingestion.catalog.catalog import SqlCatalog
from retrieval.errors import ConfigurationError
from tests.support.stores.catalog import a_collection


async def test_nothing_is_left_of_it(tmp_path: Path, postgres_url: str) -> None:
    console = Console(record=True, width=100)
    settings = Settings(data_dir=tmp_path / "untouched", database_url=SecretStr(postgres_url))
    await asyncio.to_thread(bench_catalog, settings, console, documents=REQUEST + 1)
    assert "PostgreSQL" in console.export_text()
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    assert await catalog.collections() == []
    assert await catalog.queue_depth() == 0
    await catalog.close()


def test_without_a_database_it_makes_one_of_its_own(tmp_path: Path) -> None:
    console = Console(record=True, width=100)
    bench_catalog(Settings(data_dir=tmp_path / "untouched"), console, documents=100)
    said = console.export_text()
    assert "SQLite" in said
    assert "claim, complete and receipts" in said
    assert not (tmp_path / "untouched").exists()


async def test_a_database_in_use_is_left_alone(tmp_path: Path, postgres_url: str) -> None:
    catalog = SqlCatalog(postgres_url)
    await catalog.start()
    await catalog.add_collection(a_collection())
    await catalog.close()
    settings = Settings(data_dir=tmp_path, database_url=SecretStr(postgres_url))
    with pytest.raises(ConfigurationError, match="TANDEM_DATABASE_URL"):
        await asyncio.to_thread(bench_catalog, settings, Console(), documents=10)
