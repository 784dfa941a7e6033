"""A node that gives the answers it is told to, for both of langchain_tandem's clients, and the clock they wait by."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import httpx
import pytest

import langchain_tandem.client.asynchronous
import langchain_tandem.client.blocking
import langchain_tandem.client.retrying
from langchain_tandem.client import AsyncTandemClient, TandemClient

Answer = httpx.Response | httpx.RequestError
URL = "http://node"


class ScriptedNode:
    """Gives its answers one after the other, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        found = self._answers[min(len(self.requests), len(self._answers)) - 1]
        if isinstance(found, httpx.RequestError):
            raise found
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)


class EitherClient:
    """Calls a method of one of the clients; what it returns or yields comes back the same way."""

    def __init__(self, kind: type[TandemClient] | type[AsyncTandemClient], pauses: list[float]) -> None:
        self._kind = kind
        self._client: Any = None
        self.pauses = pauses
        """What was waited for."""
        self.node = ScriptedNode()

    def of(self, *answers: Answer, **options: Any) -> "EitherClient":
        self.node = ScriptedNode(*answers)
        self._client = self._kind(URL, transport=self.node.transport, **options)
        return self

    async def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        result = getattr(self._client, method)(*arguments, **options)
        if isinstance(result, Awaitable):
            return await result
        if isinstance(result, AsyncIterator):
            return [each async for each in result]
        return list(result) if isinstance(result, Iterator) else result

    async def close(self) -> None:
        if isinstance(self._client, TandemClient):
            self._client.close()
        elif self._client:
            await self._client.aclose()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What clients waited for, on a clock that only moves so, and without chance."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(langchain_tandem.client.blocking, "sleep", waited.append)
    monkeypatch.setattr(langchain_tandem.client.asynchronous, "sleep", wait)
    monkeypatch.setattr(langchain_tandem.client.retrying, "monotonic", lambda: sum(waited))
    monkeypatch.setattr(langchain_tandem.client.retrying, "uniform", lambda low, _: low)
    return waited


@pytest.fixture(params=[TandemClient, AsyncTandemClient], ids=["blocking", "asynchronous"])
async def client(request: pytest.FixtureRequest, pauses: list[float]) -> AsyncIterator[EitherClient]:
    either = EitherClient(request.param, pauses)
    yield either
    await either.close()


def refusal(status: int, code: str, retry_after: str | None = None, **detail: object) -> httpx.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": "No.", "detail": detail}})
