"""Ports that a process closes to everybody, without its libraries' knowledge."""

import subprocess
import sys

PROGRAM = """
import socket
from retrieval.engines.vllm.closed_ports import close_ports

with socket.create_server(("127.0.0.1", 0)) as listener:
    client = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    close_ports()
    try:
        socket.create_connection(listener.getsockname(), timeout=0.5)
    except TimeoutError:
        print("closed")
    client.sendall(b"on")
    print(served.recv(2).decode())
"""


def test_nobody_new_can_connect_and_connections_go_on() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["closed", "on"]
