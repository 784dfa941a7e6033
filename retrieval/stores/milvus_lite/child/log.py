"""The write-ahead log in Milvus Lite's process. When a write is acknowledged, its whole record is on the disk;
otherwise no part of it is there and the write is refused. Lite itself leaves half a record if the disk is full, after
which no later record can be read, and does not wait for the disk.
"""

import logging
import os
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from milvus_lite.constants import SEQ_FORMAT_WIDTH, WAL_DATA_TEMPLATE, WAL_DELTA_TEMPLATE
from milvus_lite.engine import collection, recovery
from milvus_lite.storage.wal import WAL

from retrieval.stores.milvus_lite.child.whole_files import certain

_log = logging.getLogger(__name__)
_recover_all = recovery.execute_recovery


def install() -> None:
    collection.WAL = Log
    collection.execute_recovery = _recover


class Log(WAL):  # type: ignore[misc]
    """Replaces WAL. Its files are Arrow streams, like WAL's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._files: dict[str, BinaryIO] = {}

    def write_insert(self, record_batch: pa.RecordBatch) -> None:
        self._data_size_bytes = self._append(WAL_DATA_TEMPLATE, self._wal_data_schema, record_batch)

    def write_delete(self, record_batch: pa.RecordBatch) -> None:
        self._delta_size_bytes = self._append(WAL_DELTA_TEMPLATE, self._wal_delta_schema, record_batch)

    def close(self) -> None:
        """Closes the files and keeps them."""
        self._closed = True
        files, self._files = self._files, {}
        for file in files.values():
            file.close()

    def close_and_delete(self) -> None:
        """Closes and deletes the files. If a file cannot be deleted, a recovery skips it by the manifest's number."""
        self.close()
        remove_logs(Path(self.wal_dir), before=self._number + 1)

    def _append(self, template: str, schema: pa.Schema, batch: pa.RecordBatch) -> int:
        """Appends a record. Returns the size of the file in bytes."""
        assert not self._closed, "the log is closed"
        file = self._files.get(template)
        if file is None:
            path = Path(self.wal_dir) / template.format(n=self._number, w=SEQ_FORMAT_WIDTH)
            file = self._files[template] = path.open("wb", buffering=0)
        end = file.tell()
        record = batch.serialize().to_pybytes()
        if not end:
            record = schema.serialize().to_pybytes() + record
        try:
            _write_all(file, record)
            os.fsync(file.fileno())
        except BaseException:
            with certain(f"half a record cannot be taken out of {file.name}"):
                file.truncate(end)
                file.seek(end)
            raise
        return file.tell()


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def remove_logs(folder: Path, *, before: int) -> None:
    """Removes the logs with lower numbers, as far as possible."""
    for number in WAL.find_wal_files(str(folder)):
        if number >= before:
            continue
        for template in (WAL_DATA_TEMPLATE, WAL_DELTA_TEMPLATE):
            path = folder / template.format(n=number, w=SEQ_FORMAT_WIDTH)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("a log that is no longer needed cannot be removed: %s", error)


def _recover(data_dir: str, schema: Any, manifest: Any) -> Any:
    """Replaces execute_recovery, which also replays logs that were flushed: rows that were deleted since, and whose
    deletion was compacted away, would come back. Raises OSError if such a log cannot be removed.
    """
    folder, first = Path(data_dir) / "wal", manifest.active_wal_number or 0
    remove_logs(folder, before=first)
    if left := [number for number in WAL.find_wal_files(str(folder)) if number < first]:
        raise OSError(f"{folder}: the logs {left} were flushed and have to be removed before a start.")
    return _recover_all(data_dir=data_dir, schema=schema, manifest=manifest)
