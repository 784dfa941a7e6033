"""Runs the linters that lie beside this Python."""

import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


def complaints(program: str, *arguments: str | Path) -> str:
    """What it prints; empty where it finds nothing."""
    assert (PROGRAMS / program).exists(), f"{program} is not in this environment: run `make setup-dev`"
    done = subprocess.run([PROGRAMS / program, *arguments], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr
