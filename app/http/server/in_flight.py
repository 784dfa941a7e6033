"""The requests in flight, and their end when the node stops: answered, or refused with a retry hint."""

import asyncio
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.tags import error_format_at
from retrieval.errors import NotReady

SERVED_WHILE_STOPPING: Final = ("/health/", "/metrics", "/embed")
"""While the node stops: who asks how it is, and the worker processes, which embed what they have in hand."""
CANCEL_SECONDS: Final = 2.0
"""Time for cancelled requests to end."""


class InFlightRequests:
    def __init__(self) -> None:
        self.stopping = False
        """New requests are refused, and connections end with the answer they wait for."""
        self._tasks: set[asyncio.Task[object]] = set()
        self._cancelled: set[asyncio.Task[object]] = set()

    async def finish(self, seconds: float) -> None:
        """Returns when all requests have ended. Those that have not ended within `seconds` are cancelled and answered
        with 503.
        """
        self.stopping = True
        deadline = asyncio.get_running_loop().time() + seconds
        while self._tasks and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        late = set(self._tasks)
        for task in late:
            self._cancelled.add(task)
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_SECONDS)

    def enter(self) -> "asyncio.Task[object]":
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        return task

    def leave(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        self._cancelled.discard(task)

    def was_cancelled(self, task: "asyncio.Task[object]") -> bool:
        """Returns whether `finish` cancelled the task."""
        return task in self._cancelled


class InFlightMiddleware:
    """ASGI middleware: answers 503 to requests that arrive while the node stops, and to those that are not done in
    time.
    """

    def __init__(self, app: ASGIApp, in_flight: InFlightRequests) -> None:
        self._app = app
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if self._in_flight.stopping:
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        if self._in_flight.stopping and not scope["path"].startswith(SERVED_WHILE_STOPPING):
            await self._refuse(scope, receive, send_and_note, "The node is stopping and takes no more requests.")
            return
        task = self._in_flight.enter()
        try:
            await self._app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            if not self._in_flight.was_cancelled(task):
                raise
            while task.cancelling():
                task.uncancel()
            if not started:
                await self._refuse(scope, receive, send_and_note, "The node stopped before this was done.")
        finally:
            self._in_flight.leave(task)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, what: str) -> None:
        await error_format_at(scope).response(NotReady(f"{what} Try again shortly."))(scope, receive, send)
