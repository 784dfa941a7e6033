"""tandem ingest: files and folders into a collection, with progress."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.client import Client
from app.commands.terminal import ProgressLog
from langchain_tandem.client import TandemClientError
from retrieval.errors import InvalidRequest

FILES_A_REQUEST = 100
BYTES_A_REQUEST = 16 * 2**20


def find_files(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Document id and path of every file. In a folder, ids are paths relative to it; hidden files are passed over.

    Raises InvalidRequest where there is nothing to ingest.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            relative = [(file.relative_to(path), file) for file in files]
            found += [(name.as_posix(), file) for name, file in relative if not _hidden(name)]
        elif path.is_file():
            found.append((path.name, path))
        else:
            raise InvalidRequest(f"{path}: there is no such file or folder.")
    paths_by_id: dict[str, Path] = {}
    for document_id, file in found:
        other = paths_by_id.setdefault(document_id, file)
        if other != file:
            raise InvalidRequest(f"{other} and {file} would both become document {document_id!r}; send them apart.")
    if not found:
        raise InvalidRequest("There is no file to ingest in " + ", ".join(str(path) for path in paths) + ".")
    return found


def ingest_files(
    client: Client, collection: str, files: Sequence[tuple[str, Path]], console: Console
) -> list[dict[str, Any]]:
    """Sends all files, shows progress until the jobs have ended, and returns the receipts.

    Interrupted, or left by the node, it says what was sent, which jobs run on and how to stop them.
    """
    jobs: list[str] = []
    sent = ended = 0
    try:
        with Ingesting(console, len(files)) as progress:
            for batch in _batches(files):
                jobs.append(client.ingest_files(collection, batch)["job_id"])
                sent += len(batch)
                progress.sent(sent)
            before = 0
            for job_id in jobs:
                for job in client.watch(job_id):
                    done = job["progress"]["done"]
                    progress.done(before + done)
                before += done
                ended += 1
        return [receipt for job_id in jobs for receipt in client.job(job_id, receipts=True)["documents"]]
    except (KeyboardInterrupt, TandemClientError) as stop:
        if sent < len(files):
            also = "; the one under way may have been taken, too" if isinstance(stop, KeyboardInterrupt) else ""
            console.print(f"{sent} of {len(files)} files were sent in {len(jobs)} requests{also}.")
        if running := jobs[ended:]:
            console.print(f"Not seen to the end: {len(running)} jobs, which run on. To stop them:")
            console.print(f"tandem cancel {' '.join(running)} --url {client.url}", markup=False, soft_wrap=True)
        raise


def cancel_jobs(client: Client, job_ids: Sequence[str], console: Console) -> None:
    """Cancels jobs, and tells of each how it stands."""
    for job_id in job_ids:
        job = client.cancel(job_id)
        progress = job["progress"]
        console.print(f"{job_id}: {job['state']}, {progress['done']} of {progress['documents']} documents have ended")


def summarise(receipts: Iterable[dict[str, Any]], console: Console) -> bool:
    """Prints what became of the documents, failures one by one. Returns whether all went well."""
    counts: dict[str, int] = {}
    chunks = tokens = truncated = reused = 0
    failed, left_out = [], []
    for receipt in receipts:
        counts[receipt["status"]] = counts.get(receipt["status"], 0) + 1
        chunks += receipt["chunks"]
        tokens += receipt["tokens"]
        truncated += receipt["truncated_tokens"]
        reused += receipt["reused_chunks"]
        if receipt["error"]:
            failed.append(receipt)
        if receipt["status"] == "duplicate_of":
            left_out.append(receipt)
    states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    cut = f", {truncated:,} tokens did not fit the model" if truncated else ""
    kept = f" ({reused:,} of them as they were)" if reused else ""
    console.print(f"{states}: {chunks:,} chunks{kept}, {tokens:,} tokens{cut}")
    for receipt in left_out:
        console.print(f"  {receipt['id']} was left out: the same bytes as {receipt['duplicate_of']}", markup=False)
    for receipt in failed:
        error = receipt["error"]
        console.print(f"  [red]{error['code']}[/red] ", end="")
        console.print(f"{receipt['id']}: {error['message']}", markup=False)
    return not failed


class Ingesting:
    """A bar on a terminal; elsewhere a line every few seconds."""

    def __init__(self, console: Console, total: int) -> None:
        self._log = ProgressLog(console)
        self._total = total
        self._sent = self._done = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("Sending", total=total)

    def __enter__(self) -> "Ingesting":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def sent(self, documents: int) -> None:
        self._sent = documents
        self._bar.update(self._task, description=f"Sent {self._sent}")
        self._tell()

    def done(self, documents: int) -> None:
        self._done = documents
        self._bar.update(self._task, completed=documents, description="Ingesting")
        self._tell()

    def _tell(self) -> None:
        self._log.tell(f"{self._sent} sent, {self._done} of {self._total} done")


def _batches(files: Sequence[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    batch: list[tuple[str, Path]] = []
    size = 0
    for document_id, path in files:
        length = path.stat().st_size
        if batch and (len(batch) == FILES_A_REQUEST or size + length > BYTES_A_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append((document_id, path))
        size += length
    if batch:
        yield batch


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)
