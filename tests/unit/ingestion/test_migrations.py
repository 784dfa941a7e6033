"""Migrations are numbered and follow one another: two that both follow a third would keep every node from starting."""

from importlib import import_module
from pathlib import Path

from ingestion.catalog import migrations


def test_each_follows_the_one_before() -> None:
    names = sorted(path.stem for path in (Path(str(migrations.__file__)).parent / "versions").glob("[0-9]*.py"))
    modules = [import_module(f"ingestion.catalog.migrations.versions.{name}") for name in names]
    revisions = [module.revision for module in modules]
    assert revisions == [name.partition("_")[0] for name in names]
    assert [module.down_revision for module in modules] == [None, *revisions[:-1]]
