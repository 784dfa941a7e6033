"""A node in a child process, for commands that start one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic, sleep

from app import ROOT
from app.cli.client.node_client import Client
from app.settings import Settings
from langchain_tandem.client import NodeUnreachable
from retrieval.errors import TandemError

START_SECONDS = 1800.0
"""Long, because a first start may download models."""
STOP_SECONDS = 60.0


class NodeFailed(TandemError):
    """The node that a command started has ended, or did not become ready."""

    code = "node_failed"


@contextmanager
def running_node(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    on_step: Callable[[str], None],
) -> Iterator[Client]:
    """Starts `tandem serve` with `environment` on top of this process's, waits until it is ready, and ends it
    afterwards.

    Its log goes to `<data_dir>/node.log`. If it requires keys, it gets an additional one for the client, since the
    configured ones may be hashes. `on_step` is called with each step. Raises NodeFailed.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log = settings.data_dir / "node.log"
    key = None
    if settings.requires_keys:
        key = token_urlsafe(32)
        known = [*(each.get_secret_value() for each in settings.api_keys), key]
        environment = {**environment, "TANDEM_API_KEYS": ",".join(known)}
    with log.open("wb") as output:
        process = subprocess.Popen(  # our own program with fixed arguments
            [sys.executable, "-m", "app.cli.main", "serve"],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        with Client(f"http://{settings.host}:{settings.port}", key) as client:
            _wait_until_ready(process, client, log, on_step)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", client: Client, log: Path, on_step: Callable[[str], None]
) -> None:
    deadline = monotonic() + START_SECONDS
    reasons = "it did not answer"
    while monotonic() < deadline:
        if process.poll() is not None:
            raise NodeFailed(f"The node ended with status {process.returncode}. {_last_line(log)} (log: {log})")
        try:
            ready, state = client.ready()
        except NodeUnreachable:
            ready, state = False, None
        if ready:
            return
        if state:
            reasons = "; ".join(check["detail"] for check in state["checks"].values() if not check["ok"])
            if "self_test" in state["checks"] and not state["checks"]["self_test"]["ok"]:
                break
            on_step(reasons)
        sleep(0.25)
    raise NodeFailed(f"The node is not ready: {reasons} (log: {log})")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""
