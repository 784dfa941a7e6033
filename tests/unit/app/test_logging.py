from collections.abc import Iterator

import pytest
import structlog

from app.telemetry import configure_logging


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
