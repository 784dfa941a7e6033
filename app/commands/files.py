"""Which files are meant, and the document id that each of them gets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from app.commands.patterns import is_like, is_pattern, is_within, split_pattern
from retrieval.errors import InvalidRequest

PASSED_OVER = (".*", "*~", "#*#", "~$*", "*.swp", "*.swx", "*.tmp", "*.part", "*.crdownload")
"""In folders: what is hidden, and what editors and downloads leave there while they work."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Of the files in folders those that match any of `include`, if there is any, and none of `exclude`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, name: PurePath) -> bool:
        """`name`: the path within the folder."""
        if any(is_within(name, each) for each in (*PASSED_OVER, *self.exclude)):
            return False
        return not self.include or any(is_within(name, each) for each in self.include)


def find_files(paths: Sequence[Path], choice: Choice | None = None) -> list[tuple[str, Path]]:
    """Document id and path of every file. In a folder, ids are paths relative to it; behind a pattern, relative to the
    folder before its first wildcard. A file that is named itself is taken, and its id is its name.

    Raises InvalidRequest where there is nothing to ingest, and where two files would become one document.
    """
    found = [each for path in paths for each in _files(path, choice or Choice())]
    paths_by_id: dict[str, Path] = {}
    for document_id, file in found:
        other = paths_by_id.setdefault(document_id, file)
        if other != file:
            raise InvalidRequest(f"{other} and {file} would both become document {document_id!r}; send them apart.")
    if not found:
        raise InvalidRequest("There is no file to ingest in " + ", ".join(str(path) for path in paths) + ".")
    return list(paths_by_id.items())


def files_below(folder: Path, choice: Choice) -> Iterator[tuple[str, Path]]:
    """Of a folder that is there, sorted by path."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if choice.takes(name) and file.is_file():
            yield name.as_posix(), file


def _files(path: Path, choice: Choice) -> list[tuple[str, Path]]:
    if path.is_dir():
        return list(files_below(path, choice))
    if path.is_file():
        return [(path.name, path)]
    if not is_pattern(str(path)):
        raise InvalidRequest(f"{path}: there is no such file or folder.")
    folder, pattern = split_pattern(str(path))
    found = []
    if folder.is_dir():
        found = [each for each in files_below(folder, choice) if is_like(PurePath(each[0]), pattern)]
    if not found:
        raise InvalidRequest(f"{path}: no file matches.")
    return found
