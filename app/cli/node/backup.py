"""tandem backup and tandem restore: the data folder of a node that does not run."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from app.cli.exit_codes import print_json
from app.node.backup import Backup, restore_backup, write_backup
from app.node.private_files import keep_files_private
from app.settings import Settings
from retrieval.errors import ConfigurationError


def backup(settings: Settings, target: Path, console: Console, *, as_json: bool = False) -> None:
    """Raises ConfigurationError, InvalidRequest."""
    _require_embedded(settings)
    keep_files_private()
    _report(write_backup(settings.data_dir, target.absolute()), f"Saved to {target}", console, as_json=as_json)


def restore(settings: Settings, source: Path, console: Console, *, as_json: bool = False) -> None:
    """Raises ConfigurationError, InvalidRequest."""
    _require_embedded(settings)
    keep_files_private()
    done = restore_backup(source.absolute(), settings.data_dir)
    _report(done, f"Restored to {settings.data_dir}", console, as_json=as_json)


def _require_embedded(settings: Settings) -> None:
    for name in ("milvus_uri", "database_url", "blobs"):
        if getattr(settings, name):
            raise ConfigurationError(
                f"TANDEM_{name.upper()} is set: `tandem backup` saves the embedded stores of a data folder only. "
                "Back up servers with their own tools, all at the same moment (see the operations page)."
            )


def _report(done: Backup, what: str, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(done))
        return
    console.print(f"{what}: {done.files} files, {done.bytes:,} bytes, of {done.created_at}.", markup=False)
