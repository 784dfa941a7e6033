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
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.stores.milvus import MilvusStore
from retrieval.stores.milvus_lite_server import MilvusLiteServer

SCRIPTS = Path(sys.executable).parent
START_TIMEOUT_S = 120


@contextmanager
def own_process(folder: Path, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, asked to end as by Ctrl-C and then killed with all its children."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, start_new_session=True)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def until_healthy(store: MilvusStore, timeout_s: float = START_TIMEOUT_S) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            if store.failure is None:
                return
            await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
async def lite_embedded_store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(MilvusLiteServer(tmp_path_factory.mktemp("lite-embedded")))
    await store.start()
    yield store
    await store.close()


@pytest.fixture(scope="session")
async def lite_server_store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusStore]:
    folder, port = tmp_path_factory.mktemp("lite-server"), unused_port()
    command = (SCRIPTS / "milvus-lite", "server", "--data-dir", folder / "data", "--host", "127.0.0.1")
    with own_process(folder, *command, "--port", str(port)):
        store = MilvusStore(f"http://127.0.0.1:{port}")
        await store.start()
        await until_healthy(store)
        yield store
        await store.close()


@pytest.fixture(scope="session")
def milvus_server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("milvus"), unused_port()
    # Its other ports it finds by itself, but for the peer port of etcd: there can be one such server on a machine.
    # Only etcd's are on loopback; the rest have no setting for their address.
    with (Path(tempfile.gettempdir()) / "milvus-test-server.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with own_process(folder, SCRIPTS / "milvus-server", "--data", folder, "--proxy-port", str(port)):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
async def milvus_server_store(milvus_server_uri: str) -> AsyncIterator[MilvusStore]:
    store = MilvusStore(milvus_server_uri)
    await store.start()
    await until_healthy(store)
    yield store
    await store.close()
