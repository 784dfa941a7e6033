"""The catalog's schema, version by version, applied when a node starts."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from retrieval.errors import ConfigurationError

# Any number of nodes may start at once: the first one migrates, the others wait here and find it done.
ADVISORY_LOCK = 0x7A6E_DE41
WAIT = "120s"
# Alembic keeps the migration that is running in globals of the process.
ONE_AT_A_TIME = Lock()


@dataclass(frozen=True, slots=True)
class Migration:
    """Versions of the schema; `before` is None where there was no schema."""

    before: str | None
    after: str | None


def upgrade(connection: Connection, revision: str = "head") -> Migration:
    """Migrates the schema to `revision`, by default the newest, inside the transaction that `connection` is in.

    Raises alembic.util.CommandError if the database was migrated by a newer release, ConfigurationError if its schema
    is older than the first release's.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    config = Config()
    # The parser of the configuration interprets % as a placeholder.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    before = MigrationContext.configure(connection).get_current_revision()
    oldest = ScriptDirectory.from_config(config).get_base()
    if before and oldest and before < oldest:
        raise ConfigurationError(
            f"The catalog has schema version {before}, older than {oldest}, the oldest that this release can upgrade. "
            "Either start the version of Tandem that wrote it, or begin with an empty data folder (and an empty "
            "database) and ingest the documents again."
        )
    with ONE_AT_A_TIME:
        command.upgrade(config, revision)
    return Migration(before, MigrationContext.configure(connection).get_current_revision())
