"""A hub on 127.0.0.1: the parts of ModelScope's and of Hugging Face's HTTP interface that their libraries call."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Event, Thread
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

MIB = 1024 * 1024
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"


def safetensors(size: int, seed: int = 0) -> bytes:
    """A well-formed file with one tensor of `size` random bytes."""
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + Random(seed).randbytes(size)


def model_files(weights: int = 4 * MIB) -> dict[str, bytes]:
    """A repository as the hubs have them: a complete model, and the same weights in formats that nobody needs."""
    return {
        "config.json": b'{"model_type": "qwen3", "hidden_size": 64, "max_position_embeddings": 40960}',
        "tokenizer.json": b"{}",
        "1_Pooling/config.json": b"{}",
        WEIGHTS: safetensors(weights),
        "pytorch_model.bin": b"the same weights",
        "onnx/model.onnx": b"the same weights",
        "onnx/config.json": b"{}",
        "README.md": b"# A model",
    }


@dataclass
class Hub:
    """What the server offers, how it misbehaves, and what it was asked."""

    endpoint: str = ""
    modelscope: dict[str, dict[str, bytes]] = field(default_factory=dict)
    huggingface: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    """File -> bytes after which the connection is closed, once."""
    stall: dict[str, int] = field(default_factory=dict)
    """File -> bytes after which nothing comes until `go_on` is set."""
    go_on: Event = field(default_factory=Event)
    corrupt: set[str] = field(default_factory=set)
    """Files that arrive with other bytes than the listing's checksum is of."""
    fetched: list[tuple[str, str | None]] = field(default_factory=list)
    """(file, Range header) of each download request."""

    def ranges(self, file: str) -> list[str | None]:
        return [requested for name, requested in self.fetched if name == file]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing: what was asked stands in `Hub.fetched`."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if found := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo/files", path):
            self._modelscope_listing(found[1])
        elif found := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo", path):
            self._file(self.hub.modelscope, found[1], query["FilePath"][0])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/.*)?", path):
            self._huggingface_listing(found[1])
        elif found := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", path):
            self._file(self.hub.huggingface, found[1], found[2])
        else:
            self._json(200 if path == "/" else 404, {})

    def _modelscope_listing(self, model: str) -> None:
        files = self.hub.modelscope.get(model)
        if files is None:
            self._json(404, {"Code": 10010205001, "Message": f"model {model} not exists", "Success": False})
            return
        entries = [
            {"Path": path, "Name": path, "Type": "blob", "Size": len(data), "Sha256": sha256(data).hexdigest()}
            for path, data in files.items()
        ]
        self._json(200, {"Code": 200, "Success": True, "Data": {"Files": entries}})

    def _huggingface_listing(self, model: str) -> None:
        files = self.hub.huggingface.get(model)
        if files is None:
            self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        siblings: list[dict[str, object]] = []
        for path, data in files.items():
            entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": sha1(data).hexdigest()}
            if path.endswith(".safetensors"):
                entry["lfs"] = {"sha256": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        self._json(200, {"id": model, "sha": COMMIT, "siblings": siblings})

    def _file(self, repositories: dict[str, dict[str, bytes]], model: str, file: str) -> None:
        data = repositories.get(model, {}).get(file)
        if data is None:
            self._json(404, {"Message": "no such file"})
            return
        requested = self.headers.get("Range")
        start = int(requested.removeprefix("bytes=").split("-")[0]) if requested else 0
        etag = sha256(data).hexdigest()
        body = data[start:]
        if file in self.hub.corrupt:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(206 if requested else 200)
        if requested:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.fetched.append((file, requested))
        if (cut := self.hub.cut.pop(file, None)) is not None:
            self.wfile.write(body[:cut])
            self.close_connection = True
            return
        if (stall := self.hub.stall.pop(file, None)) is not None:
            self.wfile.write(body[:stall])
            self.wfile.flush()
            self.hub.go_on.wait(60)
            body = body[stall:]
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def _json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def hub() -> Iterator[Hub]:
    offered = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": offered}))
    server.daemon_threads = True
    offered.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield offered
    finally:
        offered.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
