"""Clients that mean harm, or are broken in a way that looks like it. They come from an address of their own, so that
bounds on what one address may do hit them and not those who search meanwhile."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

FROM = ("127.0.0.2", 0) if sys.platform == "linux" else None
PAUSE_S = 0.2
"""Before one that was thrown out comes again."""
STEP_S = 0.5
"""Between two bytes of those who are slow."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Met:
    """What clients of one kind met."""

    ends: Counter[str] = field(default_factory=Counter)
    """How the node ended connections: a status, or "closed"."""
    open: int = 0
    """Connections that it has not ended yet."""
    longest_s: float = 0.0
    """That it bore with one."""

    def __str__(self) -> str:
        return f"{dict(self.ends)}, {self.open} never ended, longest {self.longest_s:.1f} s"


Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]
"""One connection, until the node ends it: returns how."""


@asynccontextmanager
async def attacking(port: int, attacks: dict[str, tuple[int, Attack]]) -> AsyncIterator[dict[str, Met]]:
    """Of each attack so many clients at once, who come again when they are thrown out."""
    met = {name: Met() for name in attacks}
    clients = [
        asyncio.create_task(_again_and_again(port, attack, met[name]))
        for name, (count, attack) in attacks.items()
        for _ in range(count)
    ]
    try:
        yield met
    finally:
        for client in clients:
            client.cancel()
        ended = await asyncio.gather(*clients, return_exceptions=True)
        assert [end for end in ended if not isinstance(end, asyncio.CancelledError)] == []


async def _again_and_again(port: int, attack: Attack, met: Met) -> None:
    while True:
        started = monotonic()
        met.open += 1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=FROM)
            try:
                met.ends[await attack(reader, writer)] += 1
            finally:
                writer.close()
        except OSError:
            met.ends["closed"] += 1
        met.open -= 1
        met.longest_s = max(met.longest_s, monotonic() - started)
        await asyncio.sleep(PAUSE_S)


def request(path: str, *headers: str, method: str = "POST") -> bytes:
    """A head without its end."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n").encode()


def silent(beginning: bytes = b"") -> Attack:
    """Sends a beginning and no more."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(beginning)
        return await _end_of(reader)

    return attack


def dripping(beginning: bytes) -> Attack:
    """Goes on one byte at a time."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(beginning)
        end = asyncio.create_task(_end_of(reader))
        try:
            while not end.done():
                writer.write(b"a")
                await asyncio.wait([end], timeout=STEP_S)
            return end.result()
        finally:
            end.cancel()

    return attack


def pouring(beginning: bytes, part: bytes, most: int) -> Attack:
    """Sends `part` again and again, `most` bytes at most, whatever the node says meanwhile."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(beginning)
        end = asyncio.create_task(_end_of(reader))
        try:
            sent = 0
            with suppress(OSError):
                while not end.done() and sent < most:
                    writer.write(part)
                    sent += len(part)
                    await writer.drain()
                    await asyncio.sleep(0)
            return await end
        finally:
            end.cancel()

    return attack


def asking(whole: bytes) -> Attack:
    """Sends one whole request and reads its answer."""
    return pouring(whole, b"", 0)


def leaving(whole: bytes) -> Attack:
    """Sends one whole request and is gone."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(whole)
        await writer.drain()
        return "left"

    return attack


def listening_on(whole: bytes) -> Attack:
    """Reads a stream for as long as there is one."""

    async def attack(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(whole)
        status = await _end_of(reader)
        with suppress(OSError):
            while status == "200" and await reader.read(65536):
                pass
        return status

    return attack


async def _end_of(reader: asyncio.StreamReader) -> str:
    """The status that the node answers with before it closes the connection, if any."""
    try:
        line = await reader.readline()
        return _status(line)
    except (OSError, ValueError):
        return "closed"


def _status(line: bytes) -> str:
    return line.split()[1].decode() if line.startswith(b"HTTP/") else "closed"
