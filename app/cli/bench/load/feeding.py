"""Keeps a node's ingestion supplied, and reports its receipts.

A program: reads a Feeding as JSON from the first line of standard input, writes points as JSON lines to standard
output, and ends when everything is ingested or standard input is closed. It is a separate process, so that creating and
sending megabytes of documents never delays a search that is due in the process that measures it.
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

import httpx

from app.cli.bench.load.corpus import Corpus, corpus_of
from app.cli.bench.measures import Point
from app.cli.input import standard_input
from retrieval.errors import TandemError

LEAST_AHEAD = 2048
"""Documents under way at least, where what the node's workers hold is unknown."""
AHEAD_SECONDS = 10.0
"""In addition, as many documents as are finished in this time, so that the queue of a fast node does not run dry."""
SENDERS = 4
"""Requests that are being sent at once, at least."""
DOCUMENTS_OF_SENDER = 1024
"""One more for each so many documents that are to be under way: four could not keep two H200 supplied."""
POLL_SECONDS = 0.5
LAST_POLL_SECONDS = 0.1
"""Polling interval just before everything is ingested. The answers take processor time of the node that is measured: at
this interval throughout, a third of what its event loop computes on a CPU."""
TIMEOUT_SECONDS = 300.0


class FeedingFailed(TandemError):
    code = "ingest_failed"


@dataclass(frozen=True, slots=True)
class Feeding:
    url: str
    api_key: str | None
    collection: str
    corpus: Mapping[str, object]
    """The result of Corpus.spec."""
    first: int
    """Number of the first document."""
    count: int | None
    """None: without end."""
    documents: int = 256
    """Documents of one request."""
    least_ahead: int = LEAST_AHEAD
    """Documents under way at least. Workers that find less than they can hold claim small batches, which costs the
    stores more and engines wait for."""


@dataclass(slots=True)
class _Progress:
    documents: int = 0
    chunks: int = 0
    tokens: int = 0

    def __add__(self, other: "_Progress") -> "_Progress":
        return _Progress(self.documents + other.documents, self.chunks + other.chunks, self.tokens + other.tokens)


@dataclass(slots=True)
class _Job:
    id: str
    documents: int
    done: _Progress


class Feeder:
    """The execution of one Feeding."""

    def __init__(
        self, http: httpx.AsyncClient, feeding: Feeding, corpus: Corpus, report: Callable[[Point], None]
    ) -> None:
        self._http = http
        self._feeding = feeding
        self._corpus = corpus
        self._report = report
        self._next = feeding.first
        self._end = None if feeding.count is None else feeding.first + feeding.count
        self._jobs: deque[_Job] = deque()
        self._ended = _Progress()
        """Totals of jobs that are no longer in `_jobs`."""
        self._done = _Progress()
        """Totals of all jobs at the last poll."""
        self._sent = 0
        self._ahead = feeding.least_ahead
        self._polled = asyncio.Event()

    async def run(self) -> None:
        """Returns when everything is ingested. Raises FeedingFailed."""
        started = monotonic()
        self._report(Point(started, 0, 0, 0, 0))
        count = max(SENDERS, self._feeding.least_ahead // DOCUMENTS_OF_SENDER)
        senders = asyncio.gather(*(self._send() for _ in range(count)))
        try:
            while not senders.done() or self._jobs:
                rate = self._done.documents / (monotonic() - started)
                self._ahead = max(self._feeding.least_ahead, int(rate * AHEAD_SECONDS))
                if senders.done():
                    await asyncio.sleep(until_next_poll(self._sent - self._done.documents, rate))
                else:
                    await asyncio.wait([senders], timeout=POLL_SECONDS)
                if senders.done():
                    senders.result()
                await self._poll()
        finally:
            senders.cancel()
            await asyncio.gather(senders, return_exceptions=True)

    async def cancel_jobs(self) -> None:
        """Cancels the unfinished jobs on the node."""
        await asyncio.gather(*(self._http.post(f"/jobs/{job.id}/cancel") for job in self._jobs))

    async def _send(self) -> None:
        while self._end is None or self._next < self._end:
            if self._sent >= self._done.documents + self._ahead:
                self._polled.clear()
                await self._polled.wait()
                continue
            first, last = self._next, self._next + self._feeding.documents
            last = last if self._end is None else min(last, self._end)
            self._next = last
            self._sent += last - first
            documents = [self._corpus.document(number) for number in range(first, last)]
            job_id = await self._accepted({"collection": self._feeding.collection, "documents": documents})
            self._jobs.append(_Job(job_id, last - first, _Progress()))

    async def _accepted(self, body: Mapping[str, object]) -> str:
        """Returns the job's id. Waits while the node's queue is full."""
        while True:
            response = await self._http.post("/ingest", json=body)
            if response.status_code != 429:
                return str(_checked(response)["job_id"])
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))

    async def _poll(self) -> None:
        """Polls the oldest jobs, up to two that have not begun: workers take documents in their order."""
        idle = 0
        for job in list(self._jobs):
            progress = _checked(await self._http.get(f"/jobs/{job.id}", params={"limit": 0}))["progress"]
            if progress["failed"]:
                receipts = _checked(await self._http.get(f"/jobs/{job.id}"))["documents"]
                first = next(receipt for receipt in receipts if receipt["error"])
                raise FeedingFailed(f"{progress['failed']} documents failed, {first['id']!r} with {first['error']}.")
            job.done = _Progress(progress["done"], progress["chunks"], progress["tokens"])
            idle += not progress["done"]
            if idle == 2:
                break
        at = monotonic()
        while self._jobs and self._jobs[0].done.documents == self._jobs[0].documents:
            self._ended += self._jobs.popleft().done
        self._done = sum((job.done for job in self._jobs), start=self._ended)
        done = self._done
        self._report(Point(at, done.documents, done.chunks, done.tokens, self._sent - done.documents))
        self._polled.set()


def until_next_poll(documents: int, rate: float) -> float:
    """Returns the seconds to wait, once everything has been sent: a tenth of the time that the rest needs at `rate`
    documents a second, within the two intervals.
    """
    left = documents / rate if rate else float("inf")
    return min(POLL_SECONDS, max(LAST_POLL_SECONDS, left / 10))


def _checked(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    raise FeedingFailed(
        f"The node answered {response.status_code} to {response.request.url.path}: {response.text[:300]}"
    )


async def feed(lines: asyncio.StreamReader) -> None:
    feeding = Feeding(**json.loads(await lines.readline()))
    headers = {"Authorization": f"Bearer {feeding.api_key}"} if feeding.api_key else {}
    async with httpx.AsyncClient(base_url=feeding.url, headers=headers, timeout=TIMEOUT_SECONDS) as http:
        feeder = Feeder(http, feeding, corpus_of(feeding.corpus), _print)
        running = asyncio.create_task(feeder.run())
        closed = asyncio.create_task(lines.read())
        await asyncio.wait([running, closed], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            await feeder.cancel_jobs()
        elif not running.cancelled():
            running.result()


def _print(point: Point) -> None:
    sys.stdout.write(json.dumps(asdict(point)) + "\n")
    sys.stdout.flush()


async def main() -> int:
    lines = await standard_input()
    try:
        await feed(lines)
    except (TandemError, httpx.HTTPError) as error:
        message = error.message if isinstance(error, TandemError) else f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps({"error": message}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
