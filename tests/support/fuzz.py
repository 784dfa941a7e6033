"""Short and long forms of the test that asks every route at random."""

from collections.abc import MutableMapping

import pytest

REQUESTS = pytest.StashKey[MutableMapping[str, int]]()
"""Requests by the name of the key that had them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("fuzz", "random requests").addoption(
        "--fuzz", choices=["short", "long"], default="short", help="How much is asked (default: short)."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REQUESTS] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    requests = config.stash[REQUESTS]
    if requests:
        each = ", ".join(f"{name} {count:,}" for name, count in requests.items())
        terminalreporter.section(f"{sum(requests.values()):,} random requests with {len(requests)} keys")
        terminalreporter.line(each)
