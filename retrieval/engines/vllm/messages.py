"""What a node and its engine hosts say to each other, over one socket: frames of a length and a pickled message.

Pickle is right here and nowhere else: both ends are this program, on one machine, and nobody else has the socket.
"""

import pickle
import socket
import struct
from asyncio import StreamReader
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Output = npt.NDArray[np.float32]
"""`embed`: (dimension,). `classify`: (1,). `token_embed`: (tokens, dimension)."""

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Work:
    """To the host: one call, answered as a whole by `Done` or `Failed`."""

    call: int
    prompts: Sequence[list[int]]
    priority: int
    """The lower, the sooner, among the host's calls."""
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    """To the host: nobody waits for this call any more."""

    call: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """From the host, before anything else: its programs are loaded, and it holds nothing of the device yet."""


@dataclass(frozen=True, slots=True)
class Begin:
    """To the host, after `Loaded`: the device is its to take."""


@dataclass(frozen=True, slots=True)
class Started:
    """From the host, after `Begin`: the engine serves."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """From the host instead of `Loaded` or `Started`; it ends after it."""

    why: Literal["not_installed", "refused"]
    message: str


@dataclass(frozen=True, slots=True)
class Ping:
    """To the host, at any time."""


@dataclass(frozen=True, slots=True)
class Pong:
    """From the host, for a Ping, by a thread that does not wait for the engine."""

    progress: int
    """Another number whenever the engine has finished something."""
    working: bool


@dataclass(frozen=True, slots=True)
class Done:
    call: int
    outputs: list[Output] | Output
    """One a prompt, in order; those of equal shapes as one array, (prompts, …)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The call's other prompts are dropped; the engine goes on."""

    call: int
    message: str


def frame(message: object) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def receive(connection: socket.socket) -> object:
    """The next message. Blocks; raises EOFError where the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return pickle.loads(_exactly(connection, length))  # noqa: S301  # from our own process


async def read(reader: StreamReader) -> object:
    """The next message. Raises EOFError (IncompleteReadError) or ConnectionError where the other end is gone."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301  # from our own process


def _exactly(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return data
