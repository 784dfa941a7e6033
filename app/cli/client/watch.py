"""tandem ingest --watch: keeps a collection consistent with a folder."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from watchfiles import watch

from app.cli.client.files import FileFilter, files_below, link_reporter
from app.cli.client.ingest import BYTES_A_REQUEST, ingest_files
from app.cli.client.node_client import Client
from app.cli.exit_codes import Exit, exit_status
from langchain_tandem.client import NodeUnreachable, Refused
from langchain_tandem.client.batching import batches
from retrieval.errors import InvalidRequest

QUIET_MS = 400
"""A burst of changes is over when nothing has changed for so long,"""
BURST_MS = 5000
"""or when it has lasted so long."""
RETRY_MS = 2000
"""Interval in which failed sending is retried."""
RESCAN_SECONDS = 60.0
"""Interval in which folders are read without a notification: some network disks send none."""

Stamp = tuple[int, int, int]


@dataclass(slots=True)
class Round:
    """The changes of one round."""

    receipts: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    """Ids whose files have gone, and that were deleted from the collection."""
    kept: list[str] = field(default_factory=list)
    """Ids whose files have gone, and that stay in the collection."""
    finished: bool = True
    """False where the node was away or busy: the next round goes on from there."""


class Follower:
    """Knows which files of the folders were sent, and finds what has changed since."""

    def __init__(
        self,
        client: Client,
        collection: str,
        folders: Sequence[Path],
        file_filter: FileFilter,
        console: Console,
        *,
        delete: bool,
        metadata: Mapping[str, Any],
        groups: Sequence[str] = (),
        language: str | None = None,
    ) -> None:
        """Raises InvalidRequest if one of the paths is not a folder, or one name is in two of them."""
        for folder in folders:
            if not folder.is_dir():
                raise InvalidRequest(f"{folder}: only folders can be watched.")
        self._client = client
        self._collection = collection
        self._folders = folders
        self._file_filter = file_filter
        self._console = console
        self._on_link = link_reporter(console)
        self._delete = delete
        self._metadata = metadata
        self._groups = groups
        self._language = language
        self._sent: dict[str, Stamp] = {}
        self._last_message = ""
        self._scan()

    def sync(self) -> Round:
        """Sends new or changed files, deletes documents of deleted ones. A refusal of the node is reported, and the
        file is skipped until it changes. Raises errors that no later round would resolve.
        """
        done = Round()
        found = self._scan()
        if found is None:
            return done
        gone = sorted(self._sent.keys() - found.keys())
        try:
            changed = [id_ for id_, (_, stamp) in found.items() if self._sent.get(id_) != stamp]
            for batch in batches(changed, lambda id_: found[id_][1][1], BYTES_A_REQUEST):
                self._send({id_: found[id_] for id_ in batch}, done)
            for id_ in gone:
                if self._delete:
                    self._delete_document(id_)
                del self._sent[id_]
                (done.deleted if self._delete else done.kept).append(id_)
            self._last_message = ""
        except (NodeUnreachable, Refused) as error:
            busy = isinstance(error, Refused) and error.code == "document_busy"
            if not busy and exit_status(error) is Exit.REFUSED:
                raise
            done.finished = False
            self._print_once(f"{error.message} Trying again.")
        return done

    def _send(self, batch: Mapping[str, tuple[Path, Stamp]], done: Round) -> None:
        try:
            files = [(id_, path) for id_, (path, _) in batch.items()]
            done.receipts += ingest_files(
                self._client,
                self._collection,
                files,
                self._console,
                self._metadata,
                self._groups,
                self._language,
            )
        except (OSError, Refused) as error:
            if isinstance(error, Refused) and error.status not in (413, 415, 422):
                raise
            if len(batch) > 1:  # a request is accepted as a whole or not at all: find the refused file
                for id_ in batch:
                    self._send({id_: batch[id_]}, done)
                return
            if isinstance(error, FileNotFoundError):  # gone since it was found
                return
            self._print(f"{next(iter(batch))}: {error.message if isinstance(error, Refused) else error.strerror}")
        self._sent |= {id_: stamp for id_, (_, stamp) in batch.items()}

    def _delete_document(self, id_: str) -> None:
        try:
            self._client.delete_document(id_, collection=self._collection)
        except Refused as error:
            if error.status != 404:
                raise

    def _scan(self) -> dict[str, tuple[Path, Stamp]] | None:
        """Returns every file by document id; None while a folder is missing, which does not mean that its files were
        deleted.
        """
        found: dict[str, tuple[Path, Stamp]] = {}
        for folder in self._folders:
            if not folder.is_dir():
                self._print_once(f"{folder} is not there: its documents stay as they are.")
                return None
            for id_, path in files_below(folder, self._file_filter, self._on_link):
                if id_ in found:
                    raise InvalidRequest(
                        f"{found[id_][0]} and {path} would both become document {id_!r}; watch the folders apart."
                    )
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found[id_] = (path, (status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def _print_once(self, message: str) -> None:
        """Prints a message, but does not repeat it while it stays the same."""
        if message != self._last_message:
            self._last_message = message
            self._print(message)

    def _print(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


def follow(follower: Follower, folders: Sequence[Path], show: Callable[[Round], None]) -> None:
    """Runs until interrupted; calls `show` for every round with changes."""
    behind, scanned_at = True, 0.0
    for number, changes in enumerate(_rounds(folders)):
        # The second round too: changes after the first one and before the watch began were not notified.
        if number < 2 or changes or behind or monotonic() - scanned_at > RESCAN_SECONDS:
            scanned_at = monotonic()
            done = follower.sync()
            behind = not done.finished
            if done.receipts or done.deleted or done.kept:
                show(done)


def _rounds(folders: Sequence[Path]) -> Iterable[object]:
    """Yields at once, then for each burst of changes, and an empty burst every RETRY_MS."""
    yield ()
    yield from watch(
        *folders, watch_filter=None, debounce=BURST_MS, step=QUIET_MS, rust_timeout=RETRY_MS, yield_on_timeout=True
    )
