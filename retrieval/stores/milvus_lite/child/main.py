"""The program of the child process: Milvus Lite's gRPC server, for as long as the parent lives."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import COLLECTIONS_DIRNAME, MilvusLite
from milvus_lite.exceptions import DataDirLockedError
from pymilvus.grpc_gen.milvus_pb2_grpc import add_MilvusServiceServicer_to_server

from retrieval.stores.milvus_lite import errors
from retrieval.stores.milvus_lite.child import (
    creations,
    filters,
    flushes,
    log,
    manifests,
    reads,
    vectors,
    words,
    writes,
)
from retrieval.stores.milvus_lite.child.turns import Turns
from retrieval.stores.milvus_lite.errors import DamagedFile
from retrieval.stores.milvus_lite.heartbeat import DAMAGED, IN_USE, Heart

_LOG_BYTES = 1024 * 1024
_THREADS = 10
_MESSAGE_BYTES = 64 * 1024 * 1024
_GRACE_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--address", required=True, help="unix:PATH")
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()

    os.umask(0o077)
    # Standard output is reserved for the heartbeat; other output goes to standard error.
    heart = Heart(os.dup(1))
    os.dup2(2, 1)
    heart.start()
    handler = RotatingFileHandler(options.log, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_follow, args=(options.parent,), daemon=True).start()

    install(heart)
    try:
        _serve(options.data_dir, options.address, heart)
    except DamagedFile as error:
        heart.damaged(str(error))
        sys.exit(DAMAGED)
    except DataDirLockedError:
        sys.exit(IN_USE)


def install(heart: Heart) -> None:
    """Replaces functions of Milvus Lite with the repaired ones."""
    for better in (creations, errors, filters, log, manifests, reads, vectors, words, writes):
        better.install()
    flushes.install(heart.flushed)


def _serve(data_dir: str, address: str, heart: Heart) -> None:
    database = MilvusLite(data_dir)
    try:
        collections = Path(data_dir) / COLLECTIONS_DIRNAME
        creations.remove_remains(collections)
        creations.check_schemas(collections)
        # Before any request: two first requests at once would open the same collection twice, with two writers.
        for name in database.list_collections():
            collection = database.get_collection(name)
            # On a full disk the rows stay in memory and in the log, and searches find them.
            with suppress(Exception):
                collection.flush()
            collection.load()
        server = grpc.server(
            ThreadPoolExecutor(_THREADS),
            interceptors=[Turns()],
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
            ],
        )
        add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
        server.add_insecure_port(address)
        server.start()
        heart.ready()
        try:
            server.wait_for_termination()
        except KeyboardInterrupt:
            server.stop(grace=_GRACE_S).wait(_GRACE_S)
    finally:
        database.close()


def _follow(parent: int) -> None:
    """Ends this process once `parent` is gone. Checking the parent's id, unlike a pipe, also works when other children
    of the parent have inherited the pipe's end and live on.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S + 1)
    os._exit(1)


if __name__ == "__main__":
    main()
