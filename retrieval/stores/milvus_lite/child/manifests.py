"""The manifest in Milvus Lite's process: a failed change is undone, and a damaged manifest is refused.

Lite itself continues with changes that it could not write, or with an older manifest, and then deletes the files that
this one does not name.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from milvus_lite.engine.collection import Collection
from milvus_lite.engine.compaction import CompactionManager
from milvus_lite.storage.manifest import MANIFEST_FILENAME, MANIFEST_PREV_FILENAME, Manifest

from retrieval.stores.milvus_lite.child.whole_files import write_whole
from retrieval.stores.milvus_lite.errors import DamagedFile, full_disk_named, readable

_create_index_unguarded = Collection.create_index
_compact_unguarded = CompactionManager._compact_files
_collect_unguarded = CompactionManager._gc_delta_files


def install() -> None:
    Manifest.save = _save
    Manifest.load = classmethod(_load)
    Collection.create_index = _create_index
    CompactionManager._compact_files = _compact
    CompactionManager._gc_delta_files = _collect


@contextmanager
def undone_on_failure(manifest: Any) -> Iterator[None]:
    """If the block raises before the manifest is on the disk, restores the manifest in memory."""
    before = manifest._to_payload(), dict(manifest._index_specs)
    try:
        yield
    except BaseException:
        payload, specs = before
        if manifest._version == payload["version"]:
            manifest._current_seq = payload["current_seq"]
            manifest._active_wal_number = payload["active_wal_number"]
            manifest._partitions = payload["partitions"]
            manifest._index_specs = specs
        raise


def _save(self: Any) -> None:
    """Replaces Manifest.save. When it returns, the manifest is on the disk; if it raises, the former one is."""
    path = Path(self._data_dir) / MANIFEST_FILENAME
    payload = self._to_payload() | {"version": self._version + 1}
    text = json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False)
    write_whole(path, lambda name: Path(name).write_text(text, encoding="utf-8"))
    self._version += 1


def _load(cls: Any, data_dir: str) -> Any:
    """Replaces Manifest.load. Raises DamagedFile, also if a file that the manifest names is missing."""
    path = Path(data_dir) / MANIFEST_FILENAME
    if not path.exists():
        # Lite would treat the collection as empty and remove its files.
        if path.with_name(MANIFEST_PREV_FILENAME).exists() or any(path.parent.glob("partitions/*/data/*.parquet")):
            raise DamagedFile(f"{path} is missing")
        return cls(data_dir)
    with readable(path):
        manifest = cls._load_path(data_dir, str(path))
    for files in (manifest.get_all_data_files(), manifest.get_all_delta_files()):
        for partition, names in files.items():
            for name in names:
                named = Path(data_dir) / "partitions" / partition / name
                if not named.exists():
                    raise DamagedFile(f"{named} is missing")
    return manifest


@full_disk_named()
def _create_index(self: Any, field_name: str, index_params: dict[str, Any]) -> None:
    """Replaces Collection.create_index."""
    with self._maintenance_lock:
        before, version = dict(self._index_specs), self._manifest.version
        try:
            with undone_on_failure(self._manifest):
                _create_index_unguarded(self, field_name, index_params)
        except BaseException:
            if self._manifest.version == version:
                self._index_specs = before
            raise


def _compact(
    self: Any, partition: str, partition_dir: str, files_to_compact: list[str], manifest: Any, delta_index: Any
) -> None:
    """Replaces CompactionManager._compact_files, which leaves its files behind if the manifest cannot be written."""
    try:
        with undone_on_failure(manifest):
            _compact_unguarded(self, partition, partition_dir, files_to_compact, manifest, delta_index)
    except Exception:
        # A flush waits for the lock that a compaction holds: there is no concurrent writer.
        named = {Path(name).name for name in manifest.get_data_files(partition)}
        for path in (Path(partition_dir) / "data").iterdir():
            if path.name not in named:
                path.unlink(missing_ok=True)
        raise


def _collect(self: Any, manifest: Any, global_min: int) -> bool:
    """Replaces CompactionManager._gc_delta_files."""
    with undone_on_failure(manifest):
        removed: bool = _collect_unguarded(self, manifest, global_min)
    return removed
