"""A host without an engine. In the folder of its model it says how far its start has come, and is told to go on."""

import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path

from retrieval.engines.host_messages import Begin, Loaded, NotStarted, Started, frame, receive
from retrieval.engines.vllm_options import EngineOptions

PROGRAM = "tests.support.engine_host"


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
    assert isinstance(receive(connection), Begin)
    (folder / "begun").touch()
    while not (folder / "go").exists():
        if select.select([connection], [], [], 0.01)[0]:
            sys.exit(1)  # there is nothing to come: the node is gone
    connection.sendall(frame(Started()))
    with suppress(EOFError):
        receive(connection)


if __name__ == "__main__":
    main()
