"""Who may read what a node writes."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.cli.node.serve import _prepare
from app.node.private_files import warn_if_readable

PROGRAM = """
import sys
from pathlib import Path
from app.cli.node.serve import _prepare
from app.node.private_files import keep_files_private

keep_files_private()
folder = Path(sys.argv[1])
_prepare(folder)
(folder / "inside").mkdir()
(folder / "inside" / "file").write_text("")
"""


def test_what_is_written_is_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    subprocess.run([sys.executable, "-c", PROGRAM, folder], check=True, preexec_fn=lambda: os.umask(0o022))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert modes == {"data": 0o700, "inside": 0o700, "file": 0o600}


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
