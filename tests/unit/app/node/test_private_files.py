"""Who may read what a node writes."""

import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.cli.node.serve import _prepare
from app.node.private_files import warn_if_readable


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_an_older_folder_that_others_may_enter_is_reported(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with capture_logs() as logs:
        _prepare(tmp_path)
    [entry] = logs
    assert entry["log_level"] == "warning"
    assert entry["mode"] == f"{mode:04o}"
    assert str(tmp_path) in entry["remedy"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_a_private_folder_is_no_news(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with capture_logs() as logs:
        warn_if_readable(tmp_path)
    assert logs == []
