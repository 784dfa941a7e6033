"""Short and long forms of the test that asks every route at random."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("fuzz", "random requests").addoption(
        "--fuzz", choices=["short", "long"], default="short", help="How much is asked (default: short)."
    )
