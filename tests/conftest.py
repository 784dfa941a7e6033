"""Fixtures that tests share."""

pytest_plugins = [
    "tests.support.engines",
    "tests.support.qwen3_tokenizer",
    "tests.support.hub",
    "tests.support.databases",
    "tests.support.node",
]
