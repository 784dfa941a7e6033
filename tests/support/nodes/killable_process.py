"""`tandem serve` and `tandem worker` as processes to be killed, paused and started again on the same data."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
ENDS_S = 20
"""A child notices within half a second that its parent is gone, and takes a few more to close what it has open."""


class KillableProcess:
    """One command, started as a user would, in a session of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", "app.cli.main", *command]
        self._log = log
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._children: dict[int, psutil.Process] = {}
        self._log_start = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
            )

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def children(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid).children(recursive=True)
            self._children.update((child.pid, child) for child in found)
            return found
        return []

    def store_child(self) -> psutil.Process | None:
        """Milvus Lite's process."""
        for child in self.children():
            with suppress(psutil.NoSuchProcess):
                if any("milvus_lite.child.main" in part for part in child.cmdline()):
                    return child
        return None

    def kill(self) -> None:
        """The process alone: its children have to end by themselves."""
        self.children()
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order, which is checked."""
        self.children()
        self._end(signal.SIGTERM)
        assert self._process is not None
        assert self._process.returncode == 0, self.said()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def log_since_start(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def nothing_left(self) -> None:
        """Fails, and ends them, where children outlive their parents."""
        _, left = psutil.wait_procs(list(self._children.values()), timeout=ENDS_S)
        names = [" ".join(process.cmdline()) for process in left if process.is_running()]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert not names, f"these outlived the process: {names}"

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)


@contextmanager
def killable_process(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[KillableProcess]:
    """Started; ended in good order where the test has not ended it, killed where the test failed."""
    process = KillableProcess(command, log, environment)
    process.start()
    try:
        yield process
        if process.running():
            process.stop()
        process.nothing_left()
    finally:
        if process.running():
            process.resume()
            process.kill()
            process.nothing_left()
