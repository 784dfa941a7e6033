"""A node in a thread with an event loop of its own: blocking calls of a test may wait for it."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from app.main import create_app
from app.settings import Settings
from langchain_tandem import TandemClient
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

KEY = "the-key-of-the-node"


@pytest.fixture(scope="session")
def node_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("plugin")
    settings = Settings(data_dir=folder, selftest_margin=False, api_keys=KEY)  # type: ignore[arg-type]
    told: Future[str] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        leaving = asyncio.Event()
        stop.set_result((asyncio.get_running_loop(), leaving))
        components = real_but_for(FakeEmbedder(), FakeReranker(), folder)
        async with listening(create_app(settings, components)) as node:
            told.set_result(node.url)
            await leaving.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not told.done():
                told.set_exception(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told.result(60)
    finally:
        loop, leaving = stop.result(1)
        loop.call_soon_threadsafe(leaving.set)
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def node(node_url: str) -> Iterator[TandemClient]:
    with TandemClient(node_url, KEY) as client:
        yield client


@pytest.fixture(scope="session")
def shelf(node: TandemClient) -> str:
    node.create_collection("shelf")
    return "shelf"


@pytest.fixture
def collection(node: TandemClient, shelf: str) -> Iterator[str]:
    """An empty one: emptied after each test, which takes a tenth of the time of a new one."""
    yield shelf
    for document in list(node.documents(shelf)):
        node.delete_document(document["id"], collection=shelf)


@pytest.fixture(autouse=True)
def environment(node_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that components find the node without a word."""
    monkeypatch.setenv("TANDEM_URL", node_url)
    monkeypatch.setenv("TANDEM_API_KEY", KEY)
