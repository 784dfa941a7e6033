"""What runs in the child process: Milvus Lite's gRPC server, for as long as the parent lives."""

import argparse
import logging
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import RotatingFileHandler
from pathlib import Path

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import COLLECTIONS_DIRNAME, SCHEMA_FILENAME, MilvusLite
from pymilvus.grpc_gen.milvus_pb2_grpc import add_MilvusServiceServicer_to_server

from retrieval.stores.milvus_lite import filters, flushes, reads, vectors, words, writes

_LOG_BYTES = 1024 * 1024
_THREADS = 10
_MESSAGE_BYTES = 64 * 1024 * 1024
_GRACE_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0: any free port")
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()

    handler = RotatingFileHandler(options.log, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_follow, args=(options.parent,), daemon=True).start()

    for better in (filters, flushes, reads, vectors, words, writes):
        better.install()
    database = MilvusLite(options.data_dir)
    try:
        _remove_remains(Path(options.data_dir) / COLLECTIONS_DIRNAME)
        # Before any request: two first requests at once would open the same collection twice, with two writers.
        for name in database.list_collections():
            collection = database.get_collection(name)
            collection.flush()
            collection.load()
        server = grpc.server(
            ThreadPoolExecutor(_THREADS),
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                # A port that somebody else has taken is an error, not a port to share.
                ("grpc.so_reuseport", 0),
            ],
        )
        add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
        port = server.add_insecure_port(f"127.0.0.1:{options.port}")
        server.start()
        # One line tells the parent that the server answers, and where; nothing reads the pipe after it.
        os.write(1, f"{port}\n".encode())
        os.dup2(2, 1)
        try:
            server.wait_for_termination()
        except KeyboardInterrupt:
            server.stop(grace=_GRACE_S).wait(_GRACE_S)
    finally:
        database.close()


def _remove_remains(collections: Path) -> None:
    """A creation or a drop that was killed can leave a folder without a schema: to Milvus Lite it is no collection, and
    yet it is in the way of the next one of that name."""
    for folder in collections.iterdir():
        if folder.is_dir() and not (folder / SCHEMA_FILENAME).exists():
            shutil.rmtree(folder)


def _follow(parent: int) -> None:
    """Ends this process once `parent` is gone. Watching the parent's id, not a pipe, also works when other children
    of the parent have inherited the pipe's end and live on."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S + 1)
    os._exit(1)


if __name__ == "__main__":
    main()
