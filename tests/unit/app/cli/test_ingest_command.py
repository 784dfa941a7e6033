from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.client.ingest import ingest_files, summarise
from app.cli.client.jobs import cancel_jobs
from langchain_tandem.client import NodeUnreachable
from langchain_tandem.client.batching import DOCUMENTS_A_REQUEST


class ScriptedClient:
    """A node whose jobs end, but for the one at which something happens."""

    url = "http://node:8080"

    def __init__(self, *, stops_sending: int = 99, stops_watching: int = 99, stop: BaseException | None = None) -> None:
        self._stops_sending = stops_sending
        self._stops_watching = stops_watching
        self._stop = stop or KeyboardInterrupt()
        self.sent: list[int] = []

    def ingest_files(
        self, _collection: str, files: list[tuple[str, Path]], *, metadata: object, groups: object, language: object
    ) -> dict[str, object]:
        assert (metadata, groups, language) == (None, None, None)
        if len(self.sent) == self._stops_sending:
            raise self._stop
        self.sent.append(len(files))
        return {"job_id": f"job{len(self.sent)}"}

    def watch(self, job_id: str) -> Iterator[dict[str, object]]:
        documents = self.sent[int(job_id[3:]) - 1]
        yield {"state": "queued", "progress": {"done": 0, "documents": documents}}
        if job_id == f"job{self._stops_watching}":
            raise self._stop
        yield {"state": "succeeded", "progress": {"done": documents, "documents": documents}}

    def job(self, job_id: str, *, receipts: bool) -> dict[str, object]:
        assert receipts
        return {"documents": [f"{job_id}-{number}" for number in range(self.sent[int(job_id[3:]) - 1])]}

    def cancel(self, job_id: str) -> dict[str, object]:
        return {"state": "cancelled", "progress": {"done": 3, "documents": 3}, "job_id": job_id}


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=120)


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    """More than two requests take."""
    path = tmp_path / "file"
    path.write_text("x")
    return [(str(number), path) for number in range(2 * DOCUMENTS_A_REQUEST + 1)]


def shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_files_go_in_several_requests_and_all_receipts_come_back(
    console: Console, files: list[tuple[str, Path]]
) -> None:
    client = ScriptedClient()
    receipts = ingest_files(client, "docs", files, console)  # type: ignore[arg-type]
    assert client.sent == [DOCUMENTS_A_REQUEST, DOCUMENTS_A_REQUEST, 1]
    assert len(set(map(str, receipts))) == len(files)


def test_an_interrupt_says_which_jobs_run_on_and_how_to_stop_them(
    console: Console, files: list[tuple[str, Path]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest_files(ScriptedClient(stops_watching=2), "docs", files, console)  # type: ignore[arg-type]
    assert "2 jobs" in shown(console)
    assert "\ntandem cancel job2 job3 --url http://node:8080\n" in shown(console)
    assert "files were sent" not in shown(console)


def test_an_interrupt_while_sending_says_what_was_sent(console: Console, files: list[tuple[str, Path]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        ingest_files(ScriptedClient(stops_sending=1), "docs", files, console)  # type: ignore[arg-type]
    assert "100 of 201 files were sent in 1 requests; the one in flight may have been accepted, too." in shown(console)
    assert "tandem cancel job1 --url" in shown(console)


def test_a_node_that_goes_away_leaves_the_same_word(console: Console, files: list[tuple[str, Path]]) -> None:
    client = ScriptedClient(stops_watching=1, stop=NodeUnreachable("gone"))
    with pytest.raises(NodeUnreachable):
        ingest_files(client, "docs", files, console)  # type: ignore[arg-type]
    assert "tandem cancel job1 job2 job3" in shown(console)


def test_cancelled_jobs_are_told_of(console: Console) -> None:
    cancel_jobs(ScriptedClient(), ["job1", "job2"], console)  # type: ignore[arg-type]
    assert shown(console).splitlines() == [
        "job1: cancelled, 3 of 3 documents have ended",
        "job2: cancelled, 3 of 3 documents have ended",
    ]


def receipt(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "id": "a", "status": "ready", "chunks": 3, "tokens": 30, "truncated_tokens": 0, "reused_chunks": 0,
        "duplicate_of": None, "error": None,
    }  # fmt: skip
    return {**whole, **changes}


def test_the_summary_counts_reuse_and_names_what_was_left_out(console: Console) -> None:
    left_out = receipt(id="[b]", status="duplicate_of", duplicate_of="a", chunks=0, tokens=0)
    assert summarise([receipt(), receipt(status="replaced", reused_chunks=2), left_out], console)
    assert "1 duplicate_of, 1 ready, 1 replaced: 6 chunks (2 of them as they were), 60 tokens\n" in shown(console)
    assert "[b] was left out: the same bytes as a\n" in shown(console)


def test_a_stored_duplicate_was_not_left_out(console: Console) -> None:
    assert summarise([receipt(duplicate_of="b")], console)
    assert "left out" not in shown(console)
