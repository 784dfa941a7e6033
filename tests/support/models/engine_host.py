"""A host without an engine. In the folder of its model it says how far its start has come, and is told to go on.
Work, once it has come, is never done."""

import os
import select
import socket
import sys
from pathlib import Path

from retrieval.engines.vllm.messages import Begin, Loaded, NotStarted, Ping, Pong, Started, Work, frame, receive
from retrieval.engines.vllm.options import EngineOptions

PROGRAM = "tests.support.models.engine_host"


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    options = receive(connection)
    assert isinstance(options, EngineOptions)
    folder = Path(options.model)
    if (folder / "broken").exists():
        connection.sendall(frame(NotStarted("refused", "the model is broken")))
        return
    (folder / "loaded").write_text(str(os.getpid()))
    connection.sendall(frame(Loaded()))
    while not isinstance(answer(connection, working=False), Begin):
        pass
    (folder / "begun").touch()
    while not (folder / "go").exists():
        if select.select([connection], [], [], 0.01)[0]:
            answer(connection, working=False)
    connection.sendall(frame(Started()))
    working = False
    while True:
        working |= isinstance(answer(connection, working=working), Work)


def answer(connection: socket.socket, *, working: bool) -> object:
    """Returns the next message, a ping answered. Ends with the node."""
    try:
        message = receive(connection)
    except EOFError:
        sys.exit(1)
    if isinstance(message, Ping):
        connection.sendall(frame(Pong(0, working)))
    return message


if __name__ == "__main__":
    main()
