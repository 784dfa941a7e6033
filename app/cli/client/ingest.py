"""tandem ingest: sends files and documents to a collection, with progress."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from app.cli.client.node_client import Client
from app.cli.console import ProgressLog, bar
from langchain_tandem.client import TandemClientError
from langchain_tandem.client.batching import batches, size_of

T = TypeVar("T")
BYTES_A_REQUEST = 16 * 2**20


def ingest_files(
    client: Client,
    collection: str,
    files: Sequence[tuple[str, Path]],
    console: Console,
    metadata: Mapping[str, Any] | None = None,
    groups: Sequence[str] = (),
    language: str | None = None,
) -> list[dict[str, Any]]:
    """Sends all files, shows progress until the jobs have ended, and returns the receipts.

    If it is interrupted or loses the node, it reports what was sent, which jobs continue and how to stop them.
    """
    return _ingest(
        client,
        batches(files, lambda file: file[1].stat().st_size, BYTES_A_REQUEST),
        lambda batch: client.ingest_files(
            collection, batch, metadata=metadata or None, groups=list(groups) or None, language=language
        ),
        console,
        total=len(files),
    )


def ingest_documents(
    client: Client,
    collection: str,
    documents: Iterable[dict[str, Any]],
    console: Console,
    groups: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Sends documents of POST /ingest in the same way. They are sent as they come; the iterable may be endless."""
    return _ingest(
        client,
        batches(documents, size_of, BYTES_A_REQUEST),
        lambda batch: client.ingest(batch, collection=collection, groups=list(groups) or None),
        console,
        total=None,
    )


def _ingest(
    client: Client,
    requests: Iterable[list[T]],
    send: Callable[[list[T]], dict[str, Any]],
    console: Console,
    *,
    total: int | None,
) -> list[dict[str, Any]]:
    jobs: list[str] = []
    sent = ended = 0
    all_sent = False
    try:
        with Ingesting(console, total) as progress:
            for batch in requests:
                jobs.append(send(batch)["job_id"])
                sent += len(batch)
                progress.sent(sent)
            all_sent = True
            before = 0
            for job_id in jobs:
                for job in client.watch(job_id):
                    done = job["progress"]["done"]
                    progress.done(before + done)
                before += done
                ended += 1
        finished = [client.job(job_id, receipts=True) for job_id in jobs]
    except (KeyboardInterrupt, TandemClientError, OSError) as stop:
        if not all_sent and (jobs or isinstance(stop, KeyboardInterrupt)):
            what = f"{sent} documents" if total is None else f"{sent} of {total} files"
            also = "; the one in flight may have been accepted, too" if isinstance(stop, KeyboardInterrupt) else ""
            console.print(f"{what} were sent in {len(jobs)} requests{also}.")
        if running := jobs[ended:]:
            console.print(f"Not seen to the end: {len(running)} jobs, which run on. To stop them:")
            console.print(f"tandem cancel {' '.join(running)} --url {client.url}", markup=False, soft_wrap=True)
        raise
    for job in finished:
        show_skipped(job, console)
    return [receipt for job in finished for receipt in job["documents"]]


def show_skipped(job: Mapping[str, Any], console: Console) -> None:
    """Prints what came in archives and mail and became no document."""
    for part in job.get("skipped", ()):
        console.print(f"{part['name']} was skipped: {part['reason']}", markup=False, soft_wrap=True)


def summarise(receipts: Iterable[dict[str, Any]], console: Console) -> bool:
    """Prints the results of the documents, failures one by one. Returns whether all succeeded."""
    counts: dict[str, int] = {}
    chunks = tokens = truncated = reused = 0
    failed, left_out, warned = [], [], []
    for receipt in receipts:
        counts[receipt["status"]] = counts.get(receipt["status"], 0) + 1
        chunks += receipt["chunks"]
        tokens += receipt["tokens"]
        truncated += receipt["truncated_tokens"]
        reused += receipt["reused_chunks"]
        warned += [(receipt, warning) for warning in receipt.get("report", {}).get("warnings", ())]
        if receipt["error"]:
            failed.append(receipt)
        if receipt["status"] == "duplicate_of":
            left_out.append(receipt)
    states = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no document"
    cut = f", {truncated:,} tokens did not fit the model" if truncated else ""
    kept = f" ({reused:,} of them as they were)" if reused else ""
    console.print(f"{states}: {chunks:,} chunks{kept}, {tokens:,} tokens{cut}")
    for receipt, warning in warned:
        console.print(f"  {receipt['id']}: {warning}", markup=False)
    for receipt in left_out:
        console.print(f"  {receipt['id']} was left out: the same bytes as {receipt['duplicate_of']}", markup=False)
    for receipt in failed:
        error = receipt["error"]
        console.print(f"  [red]{error['code']}[/red] ", end="")
        console.print(f"{receipt['id']}: {error['message']}", markup=False)
    return not failed


class Ingesting:
    """Shows progress: a bar on a terminal, elsewhere an occasional line."""

    def __init__(self, console: Console, total: int | None) -> None:
        self._log = ProgressLog(console)
        self._total = total
        self._sent = self._done = 0
        self._bar = bar(console)
        self._task = self._bar.add_task("Sending", total=total)

    def __enter__(self) -> "Ingesting":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def sent(self, documents: int) -> None:
        self._sent = documents
        self._bar.update(self._task, description=f"Sent {self._sent}")
        self._show_progress()

    def done(self, documents: int) -> None:
        self._done = documents
        self._bar.update(self._task, completed=documents, total=self._total or self._sent, description="Ingesting")
        self._show_progress()

    def _show_progress(self) -> None:
        self._log.report(f"{self._sent} sent, {self._done} of {self._total or self._sent} done")
