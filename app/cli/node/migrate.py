"""tandem migrate: the catalog's schema, before the processes of a new release start."""

from dataclasses import asdict

from rich.console import Console

from app.cli.exit_codes import print_json
from app.node.private_files import keep_files_private
from app.settings import Settings
from app.wiring.components import build_catalog


async def migrate(settings: Settings, console: Console, *, as_json: bool = False) -> None:
    """Raises CatalogUnavailable, ConfigurationError."""
    keep_files_private()
    catalog = build_catalog(settings)
    try:
        done = await catalog.migrate()
    finally:
        await catalog.close()
    if as_json:
        print_json(asdict(done))
    elif done.before == done.after:
        console.print(f"The catalog is at version {done.after} already.", markup=False)
    else:
        console.print(f"Migrated the catalog from {done.before or 'nothing'} to version {done.after}.", markup=False)
