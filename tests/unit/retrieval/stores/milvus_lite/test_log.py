"""The write-ahead log: what is cut off at any byte, and what does not fit."""

import errno
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest
from milvus_lite.storage.wal import WAL

from retrieval.stores.milvus_lite.child import log
from retrieval.stores.milvus_lite.child.log import Log, remove_logs

SCHEMA = pa.schema([("id", pa.string()), ("_seq", pa.uint64()), ("_partition", pa.string())])


def record(number: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": [f"r{number}"], "_seq": [number], "_partition": ["_default"]}, SCHEMA)


def recovered(folder: Path, number: int = 1) -> tuple[list[str], list[str]]:
    inserted, deleted = WAL.recover(str(folder), number)
    return [batch["id"][0].as_py() for batch in inserted], [batch["id"][0].as_py() for batch in deleted]


def new_log(folder: Path, number: int = 1) -> Log:
    return Log(str(folder), SCHEMA, SCHEMA, number)


def test_what_was_written_is_recovered(tmp_path: Path) -> None:
    written = new_log(tmp_path)
    written.write_insert(record(1))
    written.write_delete(record(2))
    written.write_insert(record(3))
    assert recovered(tmp_path) == (["r1", "r3"], ["r2"])
    assert written.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    written.close()
    assert recovered(tmp_path) == (["r1", "r3"], ["r2"])


def test_a_log_cut_off_at_any_byte_keeps_every_whole_record(tmp_path: Path) -> None:
    written = new_log(tmp_path)
    ends = []
    for number in range(3):
        written.write_insert(record(number))
        ends.append(written.size_bytes)
    written.close()
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole), -1, -1):
        path.write_bytes(whole[:length])
        assert len(recovered(tmp_path)[0]) == sum(end <= length for end in ends), length


@pytest.mark.parametrize("fails_at", [0, 1])
def test_a_record_that_does_not_fit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    write_all = log._write_all

    def half(file: BinaryIO, data: bytes) -> None:
        write_all(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    written = new_log(tmp_path)
    for number in range(fails_at):
        written.write_insert(record(number))
    monkeypatch.setattr(log, "_write_all", half)
    with pytest.raises(OSError, match="No space"):
        written.write_insert(record(9))
    monkeypatch.setattr(log, "_write_all", write_all)
    written.write_insert(record(5))
    written.close()
    assert recovered(tmp_path)[0] == [*(f"r{number}" for number in range(fails_at)), "r5"]


def test_older_logs_are_removed_and_later_ones_stay(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        written = new_log(tmp_path, number)
        written.write_insert(record(number))
        written.write_delete(record(number))
        written.close()
    remove_logs(tmp_path, before=3)
    assert WAL.find_wal_files(str(tmp_path)) == [3]
