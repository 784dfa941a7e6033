"""What a node writes is for its own user: documents, their texts, keys' names."""

import os
import stat
from pathlib import Path

import structlog

log = structlog.get_logger()

_OTHERS = 0o077


def keep_files_private() -> None:
    """From here on, folders that this process or its children make are 0700 and files 0600."""
    os.umask(_OTHERS)


def warn_if_readable(folder: Path) -> None:
    """An older folder, or one that somebody else made, may be open to other users. Its owner decides: nothing is
    changed."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        log.warning(
            "other users of this machine may get into the data folder",
            folder=str(folder),
            mode=f"{mode:04o}",
            remedy=f"chmod -R go-rwx {folder}",
        )
