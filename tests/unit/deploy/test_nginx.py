"""The configuration of nginx: accepted by nginx, and in step with the service."""

import re
import shutil
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.nodes.api import api
from tests.support.nodes.nginx import TEMPLATE, check, write_configuration


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx, of Debian's package nginx-light")
@pytest.mark.parametrize("prefix", ["", "/tandem", "/team/rag"])
def test_nginx_accepts_it(tmp_path: Path, prefix: str) -> None:
    write_configuration(tmp_path, [8080, 8081], prefix=prefix)
    assert check(tmp_path) == ""


def test_what_is_repeated_and_what_streams_are_routes_of_the_service() -> None:
    routes = {getattr(route, "path", ""): getattr(route, "methods", None) for route in api().routes}
    located = re.findall(r"location [=~] \^?\$\{PREFIX\}/\(?([^\s)$]+(?:\)[^\s]*)?)", TEMPLATE.read_text())
    names = {name for group in located for name in group.rstrip(")$").split("|")}
    assert len(names) > 10
    paths = {re.sub(r"\{[^}]+\}", "[^/]+", path).lstrip("/") for path in routes}
    assert names <= paths


def test_it_lets_through_what_the_service_takes() -> None:
    text, settings = TEMPLATE.read_text(), Settings()
    assert f"client_max_body_size {settings.max_body_mb}m;" in text
    keep_alive = re.search(r"keepalive_timeout (\d+)s;", text)
    assert keep_alive is not None
    assert int(keep_alive[1]) < settings.keep_alive_seconds
    read = re.search(r"proxy_read_timeout (\d+)s;", text)
    assert read is not None
    assert int(read[1]) > settings.search_deadline_seconds
