"""Vector stores for tests, each on real software: Milvus Lite as the node runs it, Milvus Lite's own server, and the
Milvus server 2.3.5 from its package (no BM25, no filter templates, a partition key that upserts do not honour)."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from retrieval.stores.milvus.store import MilvusStore
from retrieval.stores.milvus_lite.server import MilvusLiteServer

SCRIPTS = Path(sys.executable).parent
HEALTHY_WITHIN_S = 120
ENDS_WITHIN_S = 5
SHORT_WAITS = {
    # A read at Strong consistency waits for the next tick, and there are hundreds of them in the tests.
    "proxy.timeTickInterval": 20,
    # How often it is looked whether a collection has been loaded.
    "queryCoord.checkInterval": 100,
    "queryCoord.distPullInterval": 100,
}
"""Of the Milvus server, in milliseconds. Only how long things take, never what they do."""


class ServerProcess:
    """A server in a process group of its own, which can be killed and started again on the same port and data."""

    def __init__(
        self, folder: Path, port: int, command: Sequence[str | Path], next_command: Sequence[str | Path] | None = None
    ) -> None:
        """`next_command` is for every start but the first, where that differs."""
        self.uri = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._command = command
        self._next_command = next_command or command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, cwd=self._folder, start_new_session=True
            )
        self._command = self._next_command

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """As by Ctrl-C; what has not ended in time is killed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(ENDS_WITHIN_S)
                self._process = None
            except subprocess.TimeoutExpired:
                self.kill()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until_healthy(store: MilvusStore) -> None:
    async with asyncio.timeout(HEALTHY_WITHIN_S):
        while True:
            if store.failure is None:
                return
            await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
def lite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder, port = tmp_path_factory.mktemp("lite-server"), unused_port()
    command: list[str | Path] = [
        SCRIPTS / "milvus-lite",
        "server",
        "--data-dir",
        folder / "data",
        "--host",
        "127.0.0.1",
    ]
    server = ServerProcess(folder, port, [*command, "--port", str(port)])
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder, port = tmp_path_factory.mktemp("milvus"), unused_port()
    # Its other ports it finds by itself, but for the peer port of etcd: there can be one such server on a machine.
    # Only etcd's are on loopback; the rest have no setting for their address.
    first: list[str | Path] = [SCRIPTS / "milvus-server", "--data", folder, "--proxy-port", str(port)]
    for name, value in SHORT_WAITS.items():
        first += ["--extra-config", f"{name}={value}"]
    # That script would move on to another port while old connections linger on this one; the server itself does not.
    environment = ["DEPLOY_MODE=STANDALONE", f"METRICS_PORT={unused_port()}", f"LD_LIBRARY_PATH={folder / 'bin'}"]
    again: list[str | Path] = ["env", *environment, folder / "bin" / "milvus", "run", "standalone"]
    server = ServerProcess(folder, port, first, again)
    with (Path(tempfile.gettempdir()) / "milvus-test-server.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
async def lite_embedded_store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(MilvusLiteServer(tmp_path_factory.mktemp("lite-embedded")))
    await store.start()
    yield store
    await store.close()


@pytest.fixture(scope="session")
async def lite_server_store(lite_server: ServerProcess) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(lite_server.uri)
    await store.start()
    await until_healthy(store)
    yield store
    await store.close()


@pytest.fixture(scope="session")
async def milvus_server_store(milvus_server: ServerProcess) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(milvus_server.uri)
    await store.start()
    await until_healthy(store)
    yield store
    await store.close()
