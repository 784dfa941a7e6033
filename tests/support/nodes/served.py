"""`tandem serve` in a process of its own, and the command line pointed at it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.cli.client.node_client import Client
from langchain_tandem.client import NodeUnreachable
from retrieval.engines.vllm.process import PROGRAM
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).parents[3]


class ServedNode:
    """A served node, and the commands pointed at it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.log = folder / "node.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", "serve", "--port", str(self.port)],
                env={**os.environ, "TANDEM_DATA_DIR": str(folder / "data"), **environment},
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )

    def tandem(self, *arguments: str, expect: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", *arguments],
            env={**os.environ, "TANDEM_URL": self.url},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            with Client(self.url) as client:
                return client.ready()[0]
        except NodeUnreachable:
            return False

    def stop(self) -> None:
        """Asks for an orderly stop, and checks that it was one."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        assert status == 0, self.log.read_text()[-2000:]
        _, left = psutil.wait_procs(children, timeout=10)
        assert not left, "processes outlived the node"

    def engines(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if PROGRAM in child.cmdline()]


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[ServedNode]:
    """A node that is ready; `environment` holds its settings."""
    node = ServedNode(folder, **environment)
    try:
        wait_until(node.ready, seconds=240)
        yield node
    finally:
        node.stop()
