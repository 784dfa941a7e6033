"""What web pages can do to a node: nothing, whatever the route."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from app.cli.node.serve import serve
from app.http.security.origins import is_loopback
from app.http.tags import error_format_of
from app.settings import load_settings
from retrieval.errors import ConfigurationError
from tests.support.nodes.api import api

CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
EVIL = "http://evil.example"


APP = api()
ROUTES = [
    *((method, route) for route in APP.routes if isinstance(route, Route) for method in sorted(route.methods or ())),
    ("GET", None),
    ("POST", None),
]
"""Every method of every route, and what is none."""


def url_of(route: Route | None) -> str:
    return route.path_format.replace("{", "").replace("}", "") if route else "/no/such/route"


def shown(pair: tuple[str, Route | None]) -> str:
    return f"{pair[0]} {url_of(pair[1])}"


async def answer(
    method: str, path: str, headers: Mapping[str, str], *, base: str = "http://127.0.0.1:8080", app: Any = APP
) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=base) as http:
        return await http.request(method, path, headers=headers)


def code_in(body: Mapping[str, Any]) -> Iterator[str]:
    """Wherever the face of the route writes it."""
    error = body.get("error", body)
    yield str(error.get("code") or error.get("error_msg"))


def test_all_faces_are_among_the_routes() -> None:
    paths = {url_of(route) for _, route in ROUTES}
    assert paths >= {"/search", "/mcp", "/metrics", "/docs", "/openapi.json", "/", "/v1/embeddings", "/retrieval"}
    assert len(ROUTES) > 50


@pytest.mark.parametrize("pair", ROUTES, ids=shown)
async def test_a_name_that_is_not_the_node_s_gets_nothing_anywhere(pair: tuple[str, Route | None]) -> None:
    method, route = pair
    found = await answer(method, url_of(route), {"Host": "evil.example", "Origin": EVIL})
    assert found.status_code == 421
    if method != "HEAD":
        error_format_of(route).model.model_validate(found.json())
        assert "host_not_allowed" in "".join(code_in(found.json()))
        assert "TANDEM_ALLOWED_HOSTS" in found.text
    assert "x-request-id" in found.headers


@pytest.mark.parametrize("pair", [each for each in ROUTES if each[0] in CHANGING], ids=shown)
async def test_a_page_of_another_origin_changes_nothing_anywhere(pair: tuple[str, Route | None]) -> None:
    method, route = pair
    found = await answer(method, url_of(route), {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"})
    assert found.status_code == 403
    assert "origin_not_allowed" in "".join(code_in(found.json()))
    assert "TANDEM_API_KEYS" in found.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost.evil.example:8080"},
        {"Origin": "http://127.0.0.1@evil.example"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_these_are_other_origins(headers: dict[str, str]) -> None:
    assert (await answer("POST", "/search", headers)).status_code == 403


@pytest.mark.parametrize("pair", [each for each in ROUTES if each[0] not in CHANGING], ids=shown)
async def test_links_from_other_pages_work_where_nothing_changes(pair: tuple[str, Route | None]) -> None:
    found = await answer(pair[0], url_of(pair[1]), {"Sec-Fetch-Site": "cross-site"})
    assert found.status_code not in (403, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1"},
        {"Host": "127.8.8.8:1"},
        {"Host": "localhost:8080"},
        {"Host": "LOCALHOST."},
        {"Host": "node.localhost:8080"},
        {"Host": "[::1]:8080"},
        {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://localhost:6274", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://[::1]:3000", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
async def test_programs_and_pages_of_this_machine_are_let_in(headers: dict[str, str]) -> None:
    assert (await answer("POST", "/no/such/route", headers)).status_code == 404


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:8080",
        "127.0.0.1.nip.io:8080",
        "0.0.0.0:8080",
        "a b",
        "127.0.0.1:x",
        "127.0.0.1/x",
        "evil@127.0.0.1",
        "127.0.0.1, evil",
        "[::1",
    ],
)
async def test_other_hosts_and_what_is_no_host_are_none_of_ours(host: str) -> None:
    assert (await answer("GET", "/health/live", {"Host": host})).status_code == 421


async def test_two_hosts_are_none_of_ours() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://127.0.0.1") as http:
        request = httpx.Request("GET", "http://127.0.0.1/docs", headers=[("Host", "127.0.0.1"), ("Host", "evil")])
        assert (await http.send(request)).status_code == 421


async def test_the_address_that_a_connection_came_in_by_is_ours() -> None:
    """A keyless node on a network answers probes by its address, which no page can rebind."""
    base = "http://10.1.2.3:8080"
    assert (await answer("GET", "/health/live", {}, base=base)).status_code == 200
    assert (await answer("GET", "/health/live", {"Host": "10.1.2.4"}, base=base)).status_code == 421
    assert (await answer("POST", "/x", {"Origin": base}, base=base)).status_code == 404
    assert (await answer("POST", "/x", {"Origin": "http://10.1.2.3"}, base=base)).status_code == 403


async def test_names_can_be_added() -> None:
    app = api(allowed_hosts="node, *.Lan.example")
    for host, status in (("node:8080", 404), ("a.lan.example", 404), ("lan.example", 421), ("node.evil", 421)):
        assert (await answer("POST", "/x", {"Host": host}, app=app)).status_code == status
        assert (await answer("POST", "/x", {"Origin": f"https://{host}"}, app=app)).status_code == (
            404 if status == 404 else 403
        )
    assert (await answer("GET", "/x", {"Host": "any"}, app=api(allowed_hosts="*"))).status_code == 404


@pytest.mark.parametrize(("host", "status"), [("node.example", 404), ("0.0.0.0", 421), ("::", 421)])
async def test_the_name_that_a_node_listens_on_is_ours(host: str, status: int) -> None:
    given = f"[{host}]" if ":" in host else host
    assert (await answer("GET", "/x", {"Host": given}, app=api(host=host))).status_code == status


async def test_with_keys_names_count_where_they_are_set_and_origins_never() -> None:
    keys = {"api_keys": "a-key"}
    headers = {"Host": "evil.example", "Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Authorization": "Bearer a-key"}
    assert (await answer("POST", "/x", headers, app=api(**keys))).status_code == 404
    named = api(**keys, allowed_hosts="node")
    assert (await answer("POST", "/x", headers, app=named)).status_code == 421
    assert (await answer("POST", "/x", headers | {"Host": "node"}, app=named)).status_code == 404


@pytest.mark.parametrize("path", ["/collections/", "/search/", "/docs/", "/jobs/x/"])
async def test_nobody_is_sent_to_where_a_host_says(path: str) -> None:
    for app in (APP, api(api_keys="a-key")):
        found = await answer("GET", path, {"Host": "localhost", "Authorization": "Bearer a-key"}, app=app)
        assert found.status_code == 404
    asked = await answer("GET", "/", {"Host": "localhost"}, app=api(api_keys="a-key"))
    assert asked.headers["location"] == "/ui/login?next=%2F"


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("allowed_hosts", "http://node", "'http://node' is not a host name"),
        ("allowed_hosts", "a,node:8080", "'node:8080' is not a host name"),
        ("allowed_hosts", "*node", "'*node' is not a host name"),
        ("trusted_proxies", "10.0.0.1,proxy", "'proxy' does not appear to be"),
    ],
)
def test_a_wrong_name_stops_the_start(setting: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"TANDEM_{setting.upper()}") as caught:
        load_settings(**{setting: value})
    assert reason in caught.value.message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "node.example"])
def test_a_node_without_keys_refuses_to_listen_beyond_loopback(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TANDEM_API_KEYS, or TANDEM_ALLOW_KEYLESS=true"):
        serve(load_settings(host=host))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.1.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("localhost.evil", False), ("127.0.0.1.nip.io", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
