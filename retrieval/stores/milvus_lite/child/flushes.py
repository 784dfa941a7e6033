"""Flushes in Milvus Lite's process. Rows leave memory and the log only once the manifest on the disk names the files
that hold them, so that a flush that fails at any step changes nothing. Lite itself empties memory first, and the next
flush that succeeds deletes the log of the one that failed.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from milvus_lite.constants import ALL_PARTITIONS, DATA_FILE_TEMPLATE, DELTA_FILE_TEMPLATE, SEQ_FORMAT_WIDTH
from milvus_lite.engine import compaction
from milvus_lite.engine.collection import Collection
from milvus_lite.engine.operation import InsertOp
from milvus_lite.storage import delta_index
from milvus_lite.storage.memtable import MemTable
from milvus_lite.storage.segment import Segment

from retrieval.stores.milvus_lite.child.log import Log
from retrieval.stores.milvus_lite.child.manifests import undone_on_failure
from retrieval.stores.milvus_lite.child.whole_files import certain, write_parquet
from retrieval.stores.milvus_lite.errors import full_disk_named, readable

_log = logging.getLogger(__name__)
_search_at_once = Collection.search
_load_segment = Segment.load.__func__
_read_deletions = delta_index.read_delta_file

Report = Callable[[str, str | None], None]
"""Called after each flush with the collection, and the reason of a failure or None."""


def install(report: Report) -> None:
    def flush_reported(self: Any) -> None:
        try:
            _flush(self)
        except Exception as error:
            _log.exception("the flush of %s failed; its rows stay in memory and in the log", self.name)
            report(self.name, " ".join(str(error).split()))
            raise
        report(self.name, None)

    @full_disk_named()
    def flush(self: Any) -> None:
        """Replaces Collection.flush."""
        if self._memtable.size():
            flush_reported(self)

    def flush_when_due(self: Any) -> None:
        """Replaces Collection._trigger_flush, for a caller that has logged its rows: they are durable in the log."""
        with suppress(Exception):
            flush_reported(self)

    @full_disk_named()
    def apply(self: Any, operation: Any) -> None:
        """Replaces Collection._apply. First retries a flush that failed before: while it fails, neither memory nor log
        grows.
        """
        if self._should_flush():
            flush_reported(self)
        _apply(self, operation)

    Collection.search = _search
    Collection.flush = flush
    Collection._trigger_flush = flush_when_due
    Collection._apply = apply
    Collection.close = _close
    compaction.write_data_file = _write_data_file
    Segment.load = classmethod(_load_readable)
    delta_index.read_delta_file = _read_deletion_file


def _search(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Replaces Collection.search, which reads files first and memory then, and may find rows in neither. If memory was
    flushed into a file meanwhile, the search runs again.
    """
    while True:
        with self._maintenance_lock:
            memory = self._memtable
        found = _search_at_once(self, *args, **kwargs)
        if self._memtable is memory:
            return found


def _apply(self: Any, operation: Any) -> None:
    if isinstance(operation, InsertOp):
        log, remember = self._wal.write_insert, self._memtable.apply_insert
    else:
        log, remember = self._wal.write_delete, self._memtable.apply_delete
    log(operation.batch)
    with certain("memory did not take what the log holds"):
        remember(operation.batch)


def _flush(self: Any) -> None:
    """Flushes. Blocks other flushes, compaction, and snapshots for reading."""
    with self._maintenance_lock:
        memory, log, manifest = self._memtable, self._wal, self._manifest
        empty = MemTable(self._schema)
        next_log = Log(log.wal_dir, self._wal_data_schema, self._wal_delta_schema, log.number + 1)
        written: list[Path] = []
        segments: dict[tuple[str, str], Any] = {}
        deletions: list[Any] = []
        try:
            with undone_on_failure(manifest):
                for partition, (rows, deleted) in memory.flush(manifest.list_partitions()).items():
                    if partition == ALL_PARTITIONS:
                        continue
                    folder = Path(self._data_dir) / "partitions" / partition
                    if rows is not None and rows.num_rows:
                        name = _write(rows, folder, "data", DATA_FILE_TEMPLATE, written)
                        manifest.add_data_file(partition, name)
                        # Read back before memory and log are dropped.
                        segments[partition, name] = Segment.load(
                            str(folder / name), partition, self._pk_name, self._vector_name
                        )
                    if deleted is not None and deleted.num_rows:
                        name = _write(deleted, folder, "delta", DELTA_FILE_TEMPLATE, written)
                        manifest.add_delta_file(partition, name)
                        deletions.append(deleted)
                manifest.current_seq = max(manifest.current_seq, memory.max_seq)
                manifest.active_wal_number = next_log.number
                manifest.save()
        except Exception:
            for path in written:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        with certain("memory did not follow the manifest"):
            for table in deletions:
                self._delta_index.add_table(table)
            self._segment_cache.update(segments)
            self._memtable, self._wal = empty, next_log
            self._recovered_wal_bytes = 0
    log.close_and_delete()
    self._schedule_bg_maintenance()


def _write(table: Any, folder: Path, kind: str, template: str, written: list[Path]) -> str:
    """Writes a file. Returns its name within the partition's folder, as the manifest records it."""
    seqs = table.column("_seq").to_pylist()
    name = f"{kind}/{template.format(min=min(seqs), max=max(seqs), w=SEQ_FORMAT_WIDTH)}"
    write_parquet(table, folder / name)
    written.append(folder / name)
    return name


def _close(self: Any) -> None:
    """Replaces Collection.close, which deletes the log even if the last flush failed."""
    with suppress(Exception):
        self.flush()
    if self._memtable.size():
        self._wal.close()
    else:
        self._wal.close_and_delete()
    self._bg_closed = True
    self._bg_executor.shutdown(wait=True)


def _write_data_file(table: Any, partition_dir: str, seq_min: int, seq_max: int) -> str:
    """Replaces write_data_file, for compaction."""
    name = f"data/{DATA_FILE_TEMPLATE.format(min=seq_min, max=seq_max, w=SEQ_FORMAT_WIDTH)}"
    write_parquet(table, Path(partition_dir) / name)
    return name


def _load_readable(cls: Any, file_path: str, partition: str, pk_field: str, vector_field: str | None) -> Any:
    """Replaces Segment.load. Raises DamagedFile."""
    with readable(file_path):
        return _load_segment(cls, file_path, partition, pk_field, vector_field)


def _read_deletion_file(path: str) -> Any:
    """Replaces read_delta_file. Raises DamagedFile."""
    with readable(path):
        return _read_deletions(path)
