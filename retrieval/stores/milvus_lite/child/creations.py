"""Creations, drops, aliases and indexes in Milvus Lite's process: each takes effect as a whole or not at all."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from milvus_lite.db import DEFAULT_DATABASE_NAME, SCHEMA_FILENAME, MilvusLite
from milvus_lite.index.factory import build_index_from_spec, load_index_from_spec
from milvus_lite.schema import persistence
from milvus_lite.storage.memtable import MemTable
from milvus_lite.storage.segment import Segment

from retrieval.stores.milvus_lite.child.whole_files import UNFINISHED, write_whole
from retrieval.stores.milvus_lite.errors import DamagedFile, full_disk_named, readable

_log = logging.getLogger(__name__)
_create_unguarded = MilvusLite.create_collection
_drop_unguarded = MilvusLite.drop_collection
_load_aliases_unguarded = MilvusLite._load_aliases
_load_schema = persistence.load_schema


def install() -> None:
    MilvusLite.create_collection = _create
    MilvusLite.drop_collection = _drop
    MilvusLite._save_aliases = _save_aliases
    MilvusLite._load_aliases = _load_aliases
    Segment.build_or_load_index = _index


def remove_remains(collections: Path) -> None:
    """Removes the remains of an interrupted creation or drop. Such a kill can leave a folder without a schema, which is
    no collection to Milvus Lite and yet blocks the next one of that name.
    """
    for folder in collections.iterdir():
        if folder.is_dir() and not (folder / SCHEMA_FILENAME).exists():
            shutil.rmtree(folder)
            continue
        for unfinished in folder.glob(f"**/*{UNFINISHED}"):
            unfinished.unlink(missing_ok=True)


def check_schemas(collections: Path) -> None:
    """Raises DamagedFile if a schema cannot be read."""
    for path in collections.glob(f"*/{SCHEMA_FILENAME}"):
        with readable(path):
            _load_schema(str(path))


@full_disk_named()
def _create(
    self: Any,
    name: str,
    schema: Any,
    properties: dict[str, Any] | None = None,
    database_name: str = DEFAULT_DATABASE_NAME,
) -> Any:
    """Replaces MilvusLite.create_collection, which leaves a folder behind if the schema cannot be written."""
    if self.has_collection(name, database_name=database_name):
        return _create_unguarded(self, name, schema, properties, database_name)
    folder = Path(self._collection_dir(name, database_name))
    if folder.is_dir():
        shutil.rmtree(folder)
    try:
        return _create_unguarded(self, name, schema, properties, database_name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _drop(self: Any, name: str, database_name: str = DEFAULT_DATABASE_NAME) -> None:
    """Replaces MilvusLite.drop_collection, which flushes the rows first, so that nothing could be dropped on a full
    disk.
    """
    resolved = self.resolve_collection_name(name, database_name=database_name)
    collection = self._collections.get((database_name or DEFAULT_DATABASE_NAME, resolved))
    if collection is not None:
        collection._memtable = MemTable(collection.schema)
    _drop_unguarded(self, name, database_name)


@full_disk_named()
def _save_aliases(self: Any, database_name: str = DEFAULT_DATABASE_NAME) -> None:
    """Replaces MilvusLite._save_aliases. If it raises, memory is restored to what the disk holds."""
    text = json.dumps(self._aliases(database_name), ensure_ascii=False, indent=2, sort_keys=True)
    try:
        write_whole(Path(self._aliases_path(database_name)), lambda name: Path(name).write_text(text, encoding="utf-8"))
    except BaseException:
        self._aliases_by_db.pop(database_name, None)
        raise


def _load_aliases(self: Any, database_name: str = DEFAULT_DATABASE_NAME) -> dict[str, str]:
    """Replaces MilvusLite._load_aliases. Raises DamagedFile."""
    path = self._aliases_path(database_name)
    with readable(path):
        aliases: dict[str, str] = _load_aliases_unguarded(self, database_name)
    return aliases


def _index(self: Any, spec: Any, index_dir: str) -> None:
    """Replaces Segment.build_or_load_index. An index file is derived from the rows and never a reason to fail: one that
    cannot be read is built again, and one that cannot be written is built again after the next start.
    """
    field = spec.field_name
    if field in self.indexes or not self.num_rows or spec.index_type == "SPARSE_INVERTED_INDEX":
        return
    path = Path(self.index_file_path(index_dir, spec.index_type, field))
    vectors, _ = self.vector_data(field)
    index = None
    if path.exists():
        try:
            with readable(path):
                index = load_index_from_spec(spec, str(path), vectors.shape[1])
        except DamagedFile as error:
            _log.warning("%s; the index is built again", error)
        if index is not None and index.num_vectors != len(vectors):
            _log.warning("%s is of other rows; the index is built again", path)
            index = None
    if index is None:
        index = build_index_from_spec(spec, vectors)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, index.save)
        except (OSError, RuntimeError):
            _log.exception("the index %s cannot be written; it is kept in memory", path.name)
    self.attach_index(index, field_name=field)
