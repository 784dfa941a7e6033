"""Finds the files that arguments name, and the document id of each."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from rich.console import Console

from app.cli.globs import is_like, is_pattern, is_within, split_pattern
from retrieval.errors import InvalidRequest

IGNORED_FILES = (".*", "*~", "#*#", "~$*", "*.swp", "*.swx", "*.tmp", "*.part", "*.crdownload")
"""Files in folders that are skipped: hidden ones, and temporary ones of editors and downloads."""


OnLink = Callable[[Path, Path], None]
"""Called with a link that is skipped because it leaves its folder, and with its target."""


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Selects files in folders: those that match any of `include`, if it is not empty, and none of `exclude`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, name: PurePath) -> bool:
        """Returns whether the file is selected. `name` is the path within the folder."""
        if any(is_within(name, each) for each in (*IGNORED_FILES, *self.exclude)):
            return False
        return not self.include or any(is_within(name, each) for each in self.include)


def find_files(paths: Sequence[Path], file_filter: FileFilter, on_link: OnLink) -> list[tuple[str, Path]]:
    """Returns the document id and path of every file. In a folder, ids are paths relative to it; for a pattern,
    relative to the folder before its first wildcard. A file that is named itself is taken, and its id is its name.
    Links are followed if they stay in the folder.

    Raises InvalidRequest if there is nothing to ingest, or if two files have the same document id.
    """
    found = [each for path in paths for each in _files(path, file_filter, on_link)]
    paths_by_id: dict[str, Path] = {}
    for document_id, file in found:
        other = paths_by_id.setdefault(document_id, file)
        if other != file:
            raise InvalidRequest(f"{other} and {file} would both become document {document_id!r}; send them apart.")
    if not found:
        raise InvalidRequest("There is no file to ingest in " + ", ".join(str(path) for path in paths) + ".")
    return list(paths_by_id.items())


def files_below(folder: Path, file_filter: FileFilter, on_link: OnLink) -> Iterator[tuple[str, Path]]:
    """Yields the files of an existing folder, sorted by path. Write permission in the folder must not make files
    elsewhere readable: links that lead out of it are skipped. Links to folders within it are skipped too: their files
    are found at their own path.
    """
    root = os.path.realpath(folder)
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if not file_filter.takes(name):
            continue
        if file.is_symlink():
            target = Path(os.path.realpath(file))
            if not target.is_relative_to(root):
                on_link(file, target)
                continue
        if file.is_file():
            yield name.as_posix(), file


def link_reporter(console: Console) -> OnLink:
    """Returns a callback that reports each link once."""
    seen: set[Path] = set()

    def report(link: Path, target: Path) -> None:
        if link not in seen:
            seen.add(link)
            words = f"{link} was skipped: it links to {target}, outside of the folder."
            console.print(words, markup=False, highlight=False, soft_wrap=True)

    return report


def _files(path: Path, file_filter: FileFilter, on_link: OnLink) -> list[tuple[str, Path]]:
    if path.is_dir():
        return list(files_below(path, file_filter, on_link))
    if path.is_file():
        return [(path.name, path)]
    if not is_pattern(str(path)):
        raise InvalidRequest(f"{path}: there is no such file or folder.")
    folder, pattern = split_pattern(str(path))
    found = []
    if folder.is_dir():
        found = [each for each in files_below(folder, file_filter, on_link) if is_like(PurePath(each[0]), pattern)]
    if not found:
        raise InvalidRequest(f"{path}: no file matches.")
    return found
