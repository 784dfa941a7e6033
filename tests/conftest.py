"""Fixtures that tests share."""

pytest_plugins = [
    "tests.support.hub",
    "tests.support.databases",
]
