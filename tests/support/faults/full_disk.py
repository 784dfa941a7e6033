"""A disk that is full at one step or from one step on, under what this process writes; and what Milvus Lite, as the
node runs it, then still holds. A program, since it changes Milvus Lite and the file functions of its whole process."""

import builtins
import errno
import io
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import faiss
import pyarrow.parquet as pq
from milvus_lite.db import MilvusLite
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema

from retrieval.stores.milvus_lite.child import main as process
from retrieval.stores.milvus_lite.child import whole_files
from retrieval.stores.milvus_lite.heartbeat import Heart

NAME = "rows"
DIMENSION = 4
GENERATIONS = 3
"""With the file that is there before, so many files make Lite merge them."""

Rows = dict[str, int]


class Ended(BaseException):
    """The process would have ended here."""


class Disk:
    """Counts steps that write. At step number `full_at` it is full: for that step, or until it is freed."""

    def __init__(self) -> None:
        self.steps = 0
        self.full_at = 0
        self.stays_full = False

    def step(self) -> bool:
        self.steps += 1
        return self.steps == self.full_at or (self.stays_full and 0 < self.full_at <= self.steps)

    def free(self) -> None:
        self.full_at = 0

    def check(self) -> None:
        if self.step():
            raise full()


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class File:
    """A file that is written to. A write for which there is no room leaves half of it."""

    def __init__(self, disk: Disk, file: Any) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: Any) -> Any:
        if self._disk.step():
            self._file.write(data[: len(data) // 2])
            with suppress(OSError):
                self._file.flush()
            raise full()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def on(disk: Disk) -> Iterator[None]:
    """Everything that this process writes goes to `disk`."""
    plain_open = builtins.open

    def opened(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode[0] in "wax":
            disk.check()
            return File(disk, plain_open(path, mode, *args, **kwargs))
        return plain_open(path, mode, *args, **kwargs)

    def checked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            disk.check()
            return function(*args, **kwargs)

        return call

    def halved(function: Callable[..., Any], error: Callable[[], Exception], name_at: int) -> Callable[..., Any]:
        """Of a function that writes a whole file by its name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            fails = disk.step()
            found = function(*args, **kwargs)
            if fails:
                path = Path(args[name_at])
                os.truncate(path, path.stat().st_size // 2)
                raise error()
            return found

        return call

    originals = [
        (module, name, getattr(module, name))
        for module, names in {
            builtins: ["open"],
            io: ["open"],
            os: ["fsync", "mkdir", "replace", "rename"],
            pq: ["write_table"],
            faiss: ["write_index"],
        }.items()
        for name in names
    ]
    builtins.open = io.open = opened  # type: ignore[assignment]
    os.fsync, os.mkdir = lambda _: disk.check(), checked(os.mkdir)
    os.replace, os.rename = checked(os.replace), checked(os.rename)
    pq.write_table = halved(pq.write_table, full, 1)
    faiss.write_index = halved(faiss.write_index, lambda: RuntimeError("write error: No space left on device"), 1)
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


def schema() -> CollectionSchema:
    return CollectionSchema(
        [
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema("value", DataType.INT64),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIMENSION),
        ]
    )


def create(database: MilvusLite, name: str) -> Any:
    collection = database.create_collection(name, schema())
    collection.create_index("vector", {"index_type": "HNSW", "metric_type": "COSINE", "params": {"M": 4}})
    collection.load()
    return collection


def held(collection: Any) -> Rows:
    """By a listing and by a search, which have to agree."""
    collection.load()
    listed = {row["id"]: row["value"] for row in collection.query("value >= 0", output_fields=["id", "value"])}
    [hits] = collection.search([[1.0] * DIMENSION], top_k=1000, output_fields=["value"])
    found = {hit["id"]: hit["entity"]["value"] for hit in hits}
    if found != listed:
        return {**found, "searched but not listed": len(found)}
    return listed


class Work:
    """Writes, deletions, flushes and merges of files, and what they were acknowledged to have left."""

    def __init__(self, database: MilvusLite) -> None:
        self._database = database
        self.collection = database.get_collection(NAME)
        self.collection.load()
        self.rows: Rows = held(self.collection)
        self.collections = {NAME}
        self.aliases: dict[str, str] = {}
        self.indexes: dict[str, list[str]] = {}
        """Of each collection, as they were told first."""
        self.refused = 0

    def run(self) -> None:
        for generation in range(GENERATIONS):
            written = {f"r{3 * generation + n}": 100 * generation + n for n in range(5)}
            self._done(lambda written=written: self._upsert(written), lambda written=written: self.rows.update(written))
            gone = [f"r{generation}", f"r{3 * generation + 4}"]
            self._done(lambda gone=gone: self.collection.delete(gone), lambda gone=gone: self._forget(gone))
            self._done(self.collection.flush, lambda: None)
            self.collection._wait_for_bg()
        self._done(lambda: create(self._database, "second"), lambda: self.collections.add("second"))
        self._done(lambda: self._database.create_alias(NAME, "alias"), lambda: self.aliases.update(alias=NAME))
        # Without a flush after them: the log alone has these.
        for number in range(3):
            last = {f"last{number}": number}
            self._done(lambda last=last: self._upsert(last), lambda last=last: self.rows.update(last))
            gone = [f"r{9 + number}"]
            self._done(lambda gone=gone: self.collection.delete(gone), lambda gone=gone: self._forget(gone))

    def _upsert(self, rows: Mapping[str, int]) -> None:
        self.collection.upsert(
            [{"id": id_, "value": value, "vector": [1.0, value, 0.5, 1.0]} for id_, value in rows.items()], "_default"
        )

    def _forget(self, ids: list[str]) -> None:
        for id_ in ids:
            self.rows.pop(id_, None)

    def _done(self, step: Callable[[], object], acknowledged: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # whatever it is, the step counts as not done
            if "space" not in str(error):
                raise
            self.refused += 1
        else:
            acknowledged()

    def problems(self, database: MilvusLite, when: str) -> list[str]:
        found = []
        collection = database.get_collection(NAME)
        if (rows := held(collection)) != self.rows:
            found.append(f"{when}: holds {sorted(rows.items())}, was acknowledged {sorted(self.rows.items())}")
        aliases = {alias: database.describe_alias(alias)["collection"] for alias in database.list_aliases()}
        if aliases != self.aliases:
            found.append(f"{when}: aliases {aliases}, acknowledged {self.aliases}")
        if missing := self.collections - set(database.list_collections()):
            found.append(f"{when}: the collections {missing} are missing")
        for name in database.list_collections():
            indexes = database.get_collection(name).list_indexes()
            if self.indexes.setdefault(name, indexes) != indexes:
                found.append(f"{when}: {name} has the indexes {indexes}, and had {self.indexes[name]}")
        if unnamed := sorted(_data_files(collection) - _named_files(collection)):
            found.append(f"{when}: no manifest names {unnamed}")
        return found


def problems_after(prepared: Path, folder: Path, disk: Disk, *, kill: bool) -> list[str]:
    """Of one run on a copy of the prepared data."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(prepared, folder)
    database = MilvusLite(str(folder))
    work = Work(database)
    found: list[str] = []
    try:
        with on(disk):
            work.run()
            if not kill:
                database.close()
        disk.free()
        if kill:
            found += work.problems(database, "before the end")
    except Ended:
        kill = True
    if kill:
        _let_go(database)
    disk.free()
    again = MilvusLite(str(folder))
    found += work.problems(again, "after a restart")
    collection = again.get_collection(NAME)
    collection.flush()
    collection._wait_for_bg()
    found += work.problems(again, "after a restart and a flush")
    if "second" not in work.collections:
        with suppress(Exception):
            again.drop_collection("second")
        create(again, "second")
    again.drop_collection("second")
    again.close()
    last = MilvusLite(str(folder))
    work.collections.discard("second")
    found += work.problems(last, "after a second restart")
    last.close()
    rubbish = [str(path) for path in folder.rglob("*.tmp")]
    return found + [f"left behind: {rubbish}"] * bool(rubbish)


def _data_files(collection: Any) -> set[str]:
    return {str(path.relative_to(collection.data_dir)) for path in Path(collection.data_dir).glob("**/*.parquet")}


def _named_files(collection: Any) -> set[str]:
    manifest = collection._manifest
    every = (*manifest.get_all_data_files().items(), *manifest.get_all_delta_files().items())
    return {f"partitions/{partition}/{name}" for partition, names in every for name in names}


def _let_go(database: MilvusLite) -> None:
    """As the end of the process would: no file is closed in good order, and the lock is free."""
    for collection in database._collections.values():
        collection._bg_closed = True
        collection._bg_executor.shutdown(wait=True)
    database._release_lock()


def prepare(folder: Path) -> None:
    database = MilvusLite(str(folder))
    collection = create(database, NAME)
    rows = [{"id": f"r{n}", "value": n, "vector": [1.0, n, 0.0, 1.0]} for n in range(12)]
    collection.upsert(rows, "_default")
    collection.flush()
    collection.delete(["r3"])
    database.close()


def main(folder: Path) -> None:
    """Prints each problem on a line of its own, and then how many runs there were."""

    def end() -> None:
        raise Ended

    whole_files.end = end
    process.install(Heart(os.open(os.devnull, os.O_WRONLY)))
    # Nothing here outlives the machine's memory: waiting for a real disk would only take time.
    os.fsync = lambda _: None
    prepared = folder / "prepared"
    prepare(prepared)
    runs = 0
    for stays_full in (False, True):
        for step in itertools.count(1):
            disk, kill = Disk(), bool(step % 2)
            disk.full_at, disk.stays_full = step, stays_full
            label = f"full {'from' if stays_full else 'at'} step {step}, {'killed' if kill else 'closed'}"
            for problem in problems_after(prepared, folder / "run", disk, kill=kill):
                print(f"{label}: {problem}", flush=True)  # noqa: T201  # a program
            runs += 1
            if disk.steps < step:
                break
    print(f"{runs} runs")  # noqa: T201  # a program


if __name__ == "__main__":
    main(Path(sys.argv[1]))
