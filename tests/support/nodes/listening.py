"""An application on a socket of its own within the test's event loop: for streams, which end where a client leaves."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI


@dataclass(frozen=True, slots=True)
class Listening:
    url: str
    server: uvicorn.Server
    serving: asyncio.Task[None]

    async def stop(self) -> None:
        """As a signal would: lets requests end, within 10 seconds."""
        self.server.should_exit = True
        await self.serving


@asynccontextmanager
async def listening(app: FastAPI, port: int = 0) -> AsyncIterator[Listening]:
    """The application, ready; on `port`, or on any that is free."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        # asyncio does so only for sockets of its own; without it each answer waits 40 ms for the client's delayed ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        found = Listening(url, server, asyncio.create_task(server.serve(sockets=[listener])))
        try:
            async with asyncio.timeout(60), httpx.AsyncClient(base_url=url) as http:
                while (ready := await http.get("/health/ready")).status_code != 200:
                    assert "unable to start" not in ready.text
                    await asyncio.sleep(0.05)
            yield found
        finally:
            await found.stop()
