"""The messages between a node and its engine hosts over one socket: frames of a length and a pickled message.

Pickle is safe here and nowhere else: both ends are this program, on one machine, and no other process has the socket.
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

from retrieval.engines.vllm.options import EngineTask

Output = npt.NDArray[np.float32]
"""`embed`: (dimension,). `classify`: (1,). `token_embed`: (tokens, dimension)."""

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Work:
    """Sent to the host: one call, answered as a whole by `Done` or `Failed`."""

    call: int
    prompts: Sequence[list[int]]
    priority: int
    """The lower, the sooner, among the host's calls."""
    task: EngineTask
    dimensions: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    """Sent to the host: the caller has abandoned this call."""

    call: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Sent by the host before anything else: its programs are loaded, and it holds no device memory yet."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Sent to the host after `Loaded`: it may take the device."""


@dataclass(frozen=True, slots=True)
class Started:
    """Sent by the host after `Begin`: the engine serves."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Sent by the host instead of `Loaded` or `Started`; the host then ends."""

    why: Literal["not_installed", "refused"]
    message: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Sent to the host at any time."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Sent by the host for a Ping, from a thread that does not wait for the engine."""

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
    """Sent by the host: the call failed. Its other prompts are dropped; the engine continues."""

    call: int
    message: str


def frame(message: object) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def receive(connection: socket.socket) -> object:
    """Returns the next message. Blocks; raises EOFError if the other end is gone."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return pickle.loads(_exactly(connection, length))  # noqa: S301  # from our own process


async def read(reader: StreamReader) -> object:
    """Returns the next message. Raises EOFError (IncompleteReadError) or ConnectionError if the other end is gone."""
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
