"""Keeps the node's files private to its user: they hold documents, their texts, and names of keys."""

import os
import stat
from pathlib import Path

import structlog

log = structlog.get_logger()

_OTHERS = 0o077


def keep_files_private() -> None:
    """From this call on, folders that this process or its children create are 0700 and files 0600."""
    os.umask(_OTHERS)


def warn_if_readable(folder: Path) -> None:
    """Warns if other users can read a folder that is older or was created by another program. Its owner decides:
    nothing is changed.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        log.warning(
            "other users of this machine may get into the data folder",
            folder=str(folder),
            mode=f"{mode:04o}",
            remedy=f"chmod -R go-rwx {folder}",
        )
