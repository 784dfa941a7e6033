"""Backups of a data folder: catalog, originals and vectors of the embedded stores as one archive, from one moment."""

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import IO

from retrieval.errors import ConfigurationError, InvalidRequest
from retrieval.stores.milvus_lite.server import lock_folder

CATALOG, ORIGINALS, VECTORS = "catalog.sqlite", "originals", "milvus"
MANIFEST = "manifest.json"
FORMAT = 1
LEFT_OUT = ("node.lock", "server.log", "server.sock")
"""In the folder of the vectors: of a process, and no data."""
COMPRESSION = 1
"""Vectors hardly compress; originals do at any level."""
MANIFEST_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Backup:
    created_at: str
    version: str
    """The release that wrote it."""
    files: int
    bytes: int
    """Size of all files, uncompressed."""


def write_backup(data_dir: Path, target: Path) -> Backup:
    """Writes the archive `target`, which appears when it is complete. No node may use the folder meanwhile: its lock is
    taken. Raises ConfigurationError (a node runs; no data), InvalidRequest (`target` exists)."""
    if target.exists():
        raise InvalidRequest(f"{target} exists. Name another file, or remove it.")
    if not (data_dir / CATALOG).is_file():
        raise ConfigurationError(f"TANDEM_DATA_DIR={data_dir}: there is no catalog to back up.")
    with _alone(data_dir), tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as work:
        partial = Path(work) / "archive"
        sums: dict[str, str] = {}
        total = 0
        with partial.open("wb") as out:
            partial.chmod(0o600)
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=COMPRESSION) as archive:
                _copy_catalog(data_dir / CATALOG, Path(work) / CATALOG)
                for name, path in ((CATALOG, Path(work) / CATALOG), *_files(data_dir)):
                    with path.open("rb") as file:
                        reader = _Hashing(file)
                        info = archive.gettarinfo(arcname=name, fileobj=file)
                        archive.addfile(info, reader)
                    sums[name] = reader.digest.hexdigest()
                    total += info.size
                for folder in _folders(data_dir):  # Milvus Lite expects its own, empty ones included
                    archive.add(folder, folder.relative_to(data_dir).as_posix(), recursive=False)
                done = Backup(datetime.now(UTC).isoformat(), version("tandem-rag"), len(sums), total)
                _add_manifest(archive, done, sums)
            out.flush()
            os.fsync(out.fileno())
        os.link(partial, target)  # unlike a rename, this replaces nothing
    return done


def restore_backup(source: Path, data_dir: Path) -> Backup:
    """Fills `data_dir`, which has to be empty or missing, from the archive; it stays as it is unless the archive is
    whole. Raises ConfigurationError (the folder is not empty), InvalidRequest (no backup, or a damaged one).
    """
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise ConfigurationError(
            f"TANDEM_DATA_DIR={data_dir}: a backup is restored into an empty folder only. Move its content away first."
        )
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=data_dir.parent, prefix=".restore-"))
    try:
        try:
            with tarfile.open(source, mode="r:gz") as archive:
                archive.extractall(work, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InvalidRequest(f"{source} cannot be read as a backup ({type(error).__name__}: {error}).") from error
        done = _checked(source, work)
        if data_dir.exists():
            data_dir.rmdir()
        work.rename(data_dir)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return done


class _Hashing:
    """Reads a file and hashes what it read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.digest.update(part)
        return part


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    with closing(lock_folder(data_dir / VECTORS)):
        yield


def _files(data_dir: Path) -> Iterator[tuple[str, Path]]:
    for folder in (ORIGINALS, VECTORS):
        for path in sorted((data_dir / folder).rglob("*")):
            if path.is_file() and not path.is_symlink() and not (folder == VECTORS and path.name in LEFT_OUT):
                yield path.relative_to(data_dir).as_posix(), path


def _folders(data_dir: Path) -> list[Path]:
    return sorted(path for path in (data_dir / VECTORS).rglob("*") if path.is_dir() and not path.is_symlink())


def _copy_catalog(source: Path, target: Path) -> None:
    """With what its write-ahead log holds."""
    with closing(sqlite3.connect(source)) as catalog, closing(sqlite3.connect(target)) as copy:
        catalog.backup(copy)
        [(state,)] = copy.execute("PRAGMA quick_check(1)").fetchall()
    if state != "ok":
        raise ConfigurationError(f"TANDEM_DATA_DIR: the catalog {source} is damaged ({state}).")


def _add_manifest(archive: tarfile.TarFile, done: Backup, sums: dict[str, str]) -> None:
    """Last, so that an archive that was cut off has none."""
    content = json.dumps(
        {"format": FORMAT, "created_at": done.created_at, "version": done.version, "bytes": done.bytes, "sha256": sums}
    ).encode()
    info = tarfile.TarInfo(MANIFEST)
    info.size, info.mode = len(content), 0o600
    archive.addfile(info, BytesIO(content))


def _checked(source: Path, work: Path) -> Backup:
    """Of what was extracted; the manifest is removed."""
    manifest = work / MANIFEST
    if not manifest.is_file() or manifest.stat().st_size > MANIFEST_BYTES:
        raise InvalidRequest(f"{source} holds no {MANIFEST}: it is no backup, or it was cut off.")
    said = json.loads(manifest.read_bytes())
    if said.get("format") != FORMAT:
        raise InvalidRequest(
            f"{source} is a backup of format {said.get('format')!r}; this release reads format {FORMAT}."
        )
    manifest.unlink()
    found = {path.relative_to(work).as_posix(): path for path in work.rglob("*") if path.is_file()}
    if differing := sorted(found.keys() ^ said["sha256"].keys()):
        raise InvalidRequest(f"{source} is damaged: {differing[0]} is missing, or does not belong there.")
    for name, path in found.items():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != said["sha256"][name]:
                raise InvalidRequest(f"{source} is damaged: {name} is not what was saved.")
    return Backup(said["created_at"], said["version"], len(found), said["bytes"])
