"""Who may read what a node writes, in a process that starts as the node does."""

import os
import stat
import subprocess
import sys
from pathlib import Path

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
