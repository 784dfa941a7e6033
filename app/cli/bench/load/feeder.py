"""A process that feeds a node, as the measuring process controls it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Thread
from time import monotonic, sleep

from app import ROOT
from app.cli.bench.load.feeding import Feeding, FeedingFailed
from app.cli.bench.measures import Point

STOP_SECONDS = 120.0
SILENT_SECONDS = 600.0
"""After this long without a finished document, ingestion counts as failed."""


class FeederProcess:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._error: str | None = None
        self.points: list[Point] = []
        """Points in order of time; grows while the process runs."""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_begun(self) -> None:
        """Returns when the first documents are finished. Raises FeedingFailed."""
        deadline = monotonic() + SILENT_SECONDS
        while not (self.points and self.points[-1].documents):
            self.check()
            if monotonic() > deadline:
                raise FeedingFailed(f"No document was ingested within {SILENT_SECONDS:.0f} s.")
            sleep(0.05)

    def wait(self) -> None:
        """Returns when everything is ingested. Raises FeedingFailed."""
        self._process.wait()
        self._reader.join()
        self.check()

    def check(self) -> None:
        """Raises FeedingFailed if the process has failed."""
        status = self._process.poll()
        if status:
            self._reader.join()
            raise FeedingFailed(self._error or f"The process that sends documents ended with status {status}.")

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "error" in message:
                self._error = message["error"]
            else:
                self.points.append(Point(**message))


@contextmanager
def fed(feeding: Feeding) -> Iterator[FeederProcess]:
    """Yields the running process. Ends it afterwards, and cancels what the node has not ingested by then."""
    process = subprocess.Popen(  # our own program with fixed arguments
        [sys.executable, "-m", "app.cli.bench.load.feeding"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(feeding)) + "\n")
    process.stdin.flush()
    feeder = FeederProcess(process)
    try:
        yield feeder
        feeder.check()
    finally:
        feeder.stop()
