"""Checks the licences of the packages in a lock file, by the metadata of the installed ones: none may be under the GPL
or the AGPL without a choice. The LGPL is allowed: what it covers is imported, not copied.

    python deploy/audit/licences.py deploy/requirements/cpu.txt

Ends with status 1 if a package is refused, or is not installed here.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==", re.MULTILINE)
LESSER = re.compile(r"L-?GPL[\w.+-]*|GNU Lesser General Public License[^|]*", re.IGNORECASE)
STRICT = re.compile(r"\bA?GPL|GNU (Affero )?General Public License", re.IGNORECASE)
CHOICE = re.compile(r"\bOR\b")


def names(lock: str) -> list[str]:
    """Returns the packages that a lock file pins."""
    return LOCKED.findall(lock)


def refused(licence: str) -> bool:
    """Whether a package under `licence` may not be used: an SPDX expression, or trove classifiers divided by `|`."""
    rest = LESSER.sub("", licence)
    choices = CHOICE.split(rest) if CHOICE.search(rest) else [rest]
    return all(STRICT.search(choice) for choice in choices)


def stated(package: str) -> str:
    """Returns what an installed package says of its licence; empty if it says nothing. Raises PackageNotFoundError."""
    found = metadata(package)
    classifiers = [each for each in found.get_all("Classifier") or [] if each.startswith("License ::")]
    short = (found.get("License") or "").splitlines()[:1]
    return " | ".join(filter(None, [found.get("License-Expression"), *classifiers, *short]))


def problems(packages: list[str]) -> Iterator[str]:
    for package in packages:
        try:
            licence = stated(package)
        except PackageNotFoundError:
            yield f"{package}: not installed here, so its licence is not known"
            continue
        if licence and refused(licence):
            yield f"{package}: {licence}"


def main() -> int:
    packages = [name for path in sys.argv[1:] for name in names(Path(path).read_text(encoding="utf-8"))]
    found = list(problems(packages))
    print(*found, f"{len(packages)} packages, {len(found)} refused", sep="\n")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
