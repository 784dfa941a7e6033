"""An S3 service on loopback for tests: moto's, which keeps its buckets in memory, also while it is away."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import httpx
import pytest

from ingestion.blobs.s3 import S3Options
from tests.support.waiting import free_port

NUMBERS = count(1)
SECRET = "a-secret-that-nobody-may-see"


class S3Server:
    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._server: Any = None

    def start(self) -> None:
        from moto.server import ThreadedMotoServer  # takes a second, and most runs need no S3

        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for every request otherwise
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def remove_bucket(self, name: str) -> None:
        httpx.delete(f"{self.url}/{name}").raise_for_status()

    def make_bucket(self) -> str:
        name = f"originals-{next(NUMBERS)}"
        httpx.put(f"{self.url}/{name}").raise_for_status()
        return name

    @contextmanager
    def away(self) -> Iterator[None]:
        """Connections are refused; what was written is there again afterwards."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def checking_keys(self) -> Iterator[None]:
        """It knows no key at all, and looks."""
        reset = f"{self.url}/moto-api/reset-auth"
        httpx.post(reset, content=b"0").raise_for_status()
        try:
            yield
        finally:
            httpx.post(reset, content=b"inf").raise_for_status()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3_options(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Options:
    """A bucket of its own."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    return S3Options(
        bucket=s3_server.make_bucket(),
        prefix="some/where",
        endpoint=s3_server.url,
        access_key="key",
        secret_key=SECRET,
    )
