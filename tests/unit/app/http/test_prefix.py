"""The path below which a proxy offers the node: believed of trusted proxies alone."""

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.http.server.prefix import ForwardedPrefix, PathBelowRoot


async def seen(prefix: str, *, client: str = "10.1.2.3", path: str = "/search") -> tuple[str, str]:
    """Root path and path, as the application behind both sees them."""
    found: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        found.append(scope)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        return

    scope: Scope = {
        "type": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "client": (client, 1234),
        "headers": [(b"x-forwarded-prefix", prefix.encode())],
    }
    await ForwardedPrefix(PathBelowRoot(app), ["10.0.0.0/8"])(scope, receive, send)
    assert found[0]["raw_path"] == found[0]["path"].encode()
    return found[0]["root_path"], found[0]["path"]


async def test_a_trusted_proxy_s_prefix_is_the_root_path() -> None:
    assert await seen("/tandem") == ("/tandem", "/tandem/search")
    assert await seen("/team/rag/") == ("/team/rag", "/team/rag/search")
    assert await seen("/ui", path="/ui/jobs") == ("/ui", "/ui/ui/jobs")


async def test_nobody_else_is_believed() -> None:
    assert await seen("/tandem", client="192.168.0.1") == ("", "/search")
    assert await seen("/tandem", client="") == ("", "/search")


@pytest.mark.parametrize("prefix", ["", "/", "tandem", "//evil.example", "/a b", '/"><script>', "/x" * 9, "https://x"])
async def test_what_is_no_path_is_ignored(prefix: str) -> None:
    assert await seen(prefix) == ("", "/search")
