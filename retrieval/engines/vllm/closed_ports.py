"""Closes the ports of an engine on one device, which needs no connection other than the one to the node.

torch makes a process group for each way of splitting a model, even if the model is not split, and each group listens on
a port for members that do not exist. Nothing authenticates the peers: any of them could exhaust file descriptors or,
where a store listens too, change what vLLM reads.
"""

import ctypes
import logging
import os
import socket
import struct
import sys

import psutil

log = logging.getLogger(__name__)

_SO_ATTACH_FILTER = 26
_SO_LOCK_FILTER = 44
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A program for the kernel's packet filter (struct sock_filter): of every packet, accept no byte."""


def close_ports() -> None:
    """Refuses all further connections to the TCP ports on which this process listens. The owners keep their sockets,
    and established connections continue.
    """
    if sys.platform != "linux":
        return
    for listener in psutil.Process().net_connections("tcp"):
        if listener.status == psutil.CONN_LISTEN:
            with socket.socket(fileno=os.dup(listener.fd)) as duplicate:
                try:
                    _drop_all(duplicate)
                except OSError as error:
                    log.warning("port %d of the engine stays open: %s", listener.laddr.port, error)


def _drop_all(listener: socket.socket) -> None:
    code = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HP", len(_DROP_ALL) // 8, ctypes.addressof(code))  # struct sock_fprog
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    listener.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
