"""tandem migrate."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from ingestion.catalog.catalog import SqlCatalog
from retrieval.errors import ConfigurationError


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TANDEM_DATABASE_URL", raising=False)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_first_run_migrates_and_the_second_finds_it_done(data: Path) -> None:
    first = CliRunner().invoke(app, ["migrate", "--json"])
    assert first.exit_code == 0, first.output
    done = json.loads(first.stdout)
    assert done["before"] is None
    with sqlite3.connect(data / "catalog.sqlite") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(done["after"],)]
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (0,)
    second = CliRunner().invoke(app, ["migrate"])
    assert second.exit_code == 0
    assert f"at version {done['after']} already" in second.stdout


async def test_a_database_of_a_newer_release_is_refused(data: Path) -> None:
    url = f"sqlite:///{data / 'catalog.sqlite'}"
    await SqlCatalog(url).migrate()
    with sqlite3.connect(data / "catalog.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="does not fit this release"):
        await SqlCatalog(url).migrate()


async def test_a_schema_older_than_the_first_release_is_refused(data: Path) -> None:
    url = f"sqlite:///{data / 'catalog.sqlite'}"
    await SqlCatalog(url).migrate()
    with sqlite3.connect(data / "catalog.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0012'")
    with pytest.raises(ConfigurationError, match=r"schema version 0012, older than 0019.* ingest the documents again"):
        await SqlCatalog(url).migrate()
