"""The key comes before the body, on every route that there is."""

from collections.abc import Iterator
from itertools import product

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import Message, Scope

from app.http.security.access import is_public, public_paths
from app.settings import load_settings
from tests.support.nodes.api import api

KEY = "a key of this test"
APP = api(api_keys=KEY)
PUBLIC = public_paths(load_settings(api_keys=KEY))


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in sorted(route.methods):
                yield method, route.path_format.replace("{", "").replace("}", "")


async def answer(method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Of a request whose body must not be read."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"127.0.0.1:8080"),
            *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
        "app": APP,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    await APP(scope, receive, send)
    start, *rest = sent
    told = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], told, b"".join(message.get("body", b"") for message in rest)


@pytest.mark.parametrize(("method", "path"), [each for each in operations(APP) if not is_public(each[1], PUBLIC)])
async def test_nothing_is_read_of_a_caller_without_a_key(method: str, path: str) -> None:
    kinds = ("application/json", "multipart/form-data; boundary=x", "text/plain")
    sizes = ({"content_length": "1000"}, {"transfer_encoding": "chunked"})
    for kind, size, wrong in product(kinds, sizes, (None, "Bearer wrong", "Basic wrong", KEY)):
        key = {} if wrong is None else {"authorization": wrong}
        status, headers, body = await answer(method, path, content_type=kind, **size, **key)
        # Dify has a status of its own, and who opens a page is asked for the key.
        is_page = method == "GET" and (path == "/" or path.startswith("/ui/"))
        assert status == (403 if path == "/retrieval" else 303 if is_page else 401), body
        assert headers["connection"] == "close"
        if is_page:
            assert headers["location"].startswith("/ui/login?next=%2F")


async def test_what_is_no_route_is_behind_the_keys_and_reads_nothing() -> None:
    for method, path in (("POST", "/nothing"), ("GET", "/metrics"), ("PATCH", "/search"), ("POST", "/docs/../search")):
        status, headers, _ = await answer(method, path, content_length="1000")
        assert (status, headers["connection"]) == (401 if ".." not in path else 404, "close")
    for method, path, expected in (("POST", "/nothing", 404), ("PATCH", "/search", 405)):
        status, headers, _ = await answer(method, path, content_length="1000", authorization=f"Bearer {KEY}")
        assert (status, headers["connection"]) == (expected, "close")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/health/live"])
async def test_what_is_public_is_answered_without_a_key(path: str) -> None:
    status, headers, _ = await answer("GET", path)
    assert status == 200
    assert "connection" not in headers
