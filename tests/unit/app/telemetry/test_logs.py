import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.telemetry.logs import configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_hold_no_variables(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging("info", as_json=as_json)
    text = " ".join(["what", "a", "user", "wrote"])
    try:
        len(text) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("defect")
    logged = capsys.readouterr().err
    assert "ZeroDivisionError" in logged
    assert text not in logged


def test_the_protocol_s_library_logs_in_our_format_and_quotes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=True)
    library = logging.getLogger("mcp.server.of.this.test")
    library.info("quoted")
    try:
        {}["quoted"]
    except KeyError:
        library.exception("handler for %r raised", "quoted")
    output = capsys.readouterr()
    assert output.out == ""
    [line] = output.err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["event"], told["error"]) == ("error", "mcp reports a problem", "KeyError")
    assert told["where"].startswith("mcp.server.of.this.test:")
    assert "quoted" not in line
