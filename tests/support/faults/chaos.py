"""Long and short forms of the tests that break things, their luck, and the figures that they find."""

import random
from collections.abc import Callable
from typing import Any

import pytest

_FIGURES = pytest.StashKey[list[tuple[str, str]]]()
_SEED = pytest.StashKey[int]()

Figure = Callable[[str, str], None]
"""Told what was measured, and its value; shown at the end of the run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "tests that break things")
    group.addoption("--chaos", choices=["short", "long"], default="short", help="How much is broken (default: short).")
    group.addoption("--chaos-seed", type=int, help="Repeats the choices of an earlier run (default: by chance).")


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get("chaos_seed", config.getoption("--chaos-seed"))
    config.stash[_SEED] = random.randrange(10**6) if given is None else given
    config.stash[_FIGURES] = []


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives xdist's workers the seed of this run."""
    node.workerinput["chaos_seed"] = node.config.stash[_SEED]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands the figures of an xdist worker over to the process that reports them."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["figures"] = session.config.stash[_FIGURES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    found = getattr(node, "workeroutput", {}).get("figures", [])
    node.config.stash[_FIGURES] += [(what, value) for what, value in found]


def pytest_report_header(config: pytest.Config) -> str:
    return f"chaos: {config.getoption('--chaos')} form, --chaos-seed={config.stash[_SEED]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if not figures:
        return
    terminalreporter.section(f"figures of the {config.getoption('--chaos')} form, seed {config.stash[_SEED]}")
    width = max(len(what) for what, _ in figures)
    for what, value in figures:
        terminalreporter.line(f"{what:<{width}}  {value}")


@pytest.fixture
def long_form(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--chaos") == "long")


@pytest.fixture
def rng(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> random.Random:
    """The same for the same test and seed, whatever else runs."""
    return random.Random(f"{pytestconfig.stash[_SEED]} {request.node.name}")


@pytest.fixture
def figure(pytestconfig: pytest.Config) -> Figure:
    figures = pytestconfig.stash[_FIGURES]
    return lambda what, value: figures.append((what, value))
