"""Backups of a data folder: whole or not at all, in both directions."""

import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from app.node.backup import restore_backup, write_backup
from retrieval.errors import ConfigurationError, InvalidRequest
from retrieval.stores.milvus_lite.server import lock_folder

FILES = {
    "originals/ab/abcd": b"an original",
    "milvus/data/collection/rows.parquet": b"vectors",
    "milvus/data/wal.log": bytes(100_000),
}


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Of a node that was killed: the last change is in the catalog's write-ahead log."""
    folder = tmp_path / "data"
    for name, content in {**FILES, "milvus/server.log": b"log", "milvus/node.lock": b""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "milvus" / "data" / "empty").mkdir()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        catalog.execute("PRAGMA journal_mode=WAL")
        catalog.execute("CREATE TABLE documents (id TEXT)")
        catalog.execute("INSERT INTO documents VALUES ('kiln')")
        catalog.commit()
        assert (folder / "catalog.sqlite-wal").stat().st_size
        yield folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("catalog")
    }


def rewrite(archive: Path, change: "dict[str, bytes | None]") -> None:
    """Exchanges members, or leaves them out (None)."""
    with tarfile.open(archive) as old:
        members = {each.name: file.read() for each in old if (file := old.extractfile(each)) is not None}
    with tarfile.open(archive, "w:gz") as new:
        for name, data in {**members, **change}.items():
            if data is not None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                new.addfile(info, BytesIO(data))


def test_what_comes_back_is_what_was_saved(data: Path, tmp_path: Path) -> None:
    archive, there = tmp_path / "backup.tar.gz", tmp_path / "there"
    saved = write_backup(data, archive)
    assert (saved.files, archive.stat().st_mode & 0o077) == (4, 0)
    assert restore_backup(archive, there) == saved
    assert content(there) == FILES
    assert (there / "milvus" / "data" / "empty").is_dir()
    with closing(sqlite3.connect(there / "catalog.sqlite")) as catalog:
        assert catalog.execute("SELECT id FROM documents").fetchall() == [("kiln",)]
    assert {path.name for path in tmp_path.iterdir()} == {"data", "there", "backup.tar.gz"}


def test_a_folder_that_a_node_uses_is_not_saved(data: Path, tmp_path: Path) -> None:
    with closing(lock_folder(data / "milvus")), pytest.raises(ConfigurationError, match="another node uses"):
        write_backup(data, tmp_path / "backup.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    write_backup(data, tmp_path / "backup.tar.gz")


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    write_backup(data, archive)
    with pytest.raises(InvalidRequest, match="exists"):
        write_backup(data, archive)
    before = content(data)
    with pytest.raises(ConfigurationError, match="empty folder"):
        restore_backup(archive, data)
    assert content(data) == before
    with pytest.raises(ConfigurationError, match="no catalog"):
        write_backup(tmp_path / "nothing", tmp_path / "other.tar.gz")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"originals/ab/abcd": b"another original"}, "originals/ab/abcd is not what was saved"),
        ({"milvus/data/wal.log": None}, "milvus/data/wal.log is missing"),
        ({"originals/stray": b"?"}, "originals/stray is missing, or does not belong"),
        ({"manifest.json": None}, "holds no manifest.json"),
        ({"manifest.json": json.dumps({"format": 99}).encode()}, "format 99"),
        ({"../outside": b"?"}, "cannot be read as a backup"),
    ],
)
def test_a_damaged_backup_leaves_nothing(
    data: Path, tmp_path: Path, change: "dict[str, bytes | None]", reason: str
) -> None:
    archive, there = tmp_path / "backup.tar.gz", tmp_path / "there"
    write_backup(data, archive)
    rewrite(archive, change)
    there.mkdir()
    with pytest.raises(InvalidRequest, match=reason):
        restore_backup(archive, there)
    assert list(there.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"data", "there", "backup.tar.gz"}


def test_a_backup_that_was_cut_off_is_refused(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    write_backup(data, archive)
    whole = archive.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 20):
        archive.write_bytes(whole[:length])
        with pytest.raises(InvalidRequest):
            restore_backup(archive, tmp_path / "there")
    assert not (tmp_path / "there").exists()
