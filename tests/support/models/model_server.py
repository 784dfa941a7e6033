"""A model server of the OpenAI kind without a model: every answer follows from the token ids. It is up at once and
costs almost nothing, for tests that break everything around it."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from threading import Thread
from time import monotonic
from typing import Any
from zlib import crc32

import numpy as np
import orjson
import uvicorn

from tests.support.models.engines import TINY_DIMENSION
from tests.support.waiting import wait_until

_STEP_S = 0.05
"""How soon a change of `seconds` shows."""
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ModelServer:
    """One that embeds and classifies, in a thread of this process."""

    def __init__(self, port: int, *, seconds: float = 0.0) -> None:
        """`seconds`: what each request takes; can be changed while it serves."""
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self.seconds = seconds
        self.document_seconds = 0.0
        """What is added for embeddings of several texts, as only documents have them."""
        self._server: uvicorn.Server | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        self._server = server = uvicorn.Server(
            uvicorn.Config(self._answer, port=self._port, interface="asgi3", lifespan="off", log_level="warning")
        )
        self._thread = Thread(target=server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: server.started, seconds=10)

    def stop(self) -> None:
        """Cuts off what is under way."""
        if self._server and self._thread:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join()
            self._server = None

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        data: list[dict[str, object]] = []
        if scope["path"] != "/health":
            body = b""
            while True:
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            inputs = orjson.loads(body)["input"]
            embeds = scope["path"] == "/v1/embeddings"
            await self._take_time(of_documents=embeds and len(inputs) > 1)
            output = _embedding if embeds else _probability
            data = [{"index": place, **output(ids)} for place, ids in enumerate(inputs)]
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps({"data": data})})

    async def _take_time(self, *, of_documents: bool) -> None:
        started = monotonic()
        while (left := started + self.seconds + (self.document_seconds if of_documents else 0) - monotonic()) > 0:
            await asyncio.sleep(min(left, _STEP_S))


def _embedding(ids: Sequence[int]) -> dict[str, object]:
    direction = np.random.default_rng(_hash(ids)).standard_normal(TINY_DIMENSION, dtype=np.float32)
    return {"embedding": b64encode(direction.tobytes()).decode()}


def _probability(ids: Sequence[int]) -> dict[str, object]:
    return {"probs": [_hash(ids) / 2**32]}


def _hash(ids: Sequence[int]) -> int:
    return crc32(np.asarray(ids, dtype=np.int64).tobytes())
