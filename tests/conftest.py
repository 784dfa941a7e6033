"""Fixtures that tests share."""

import pytest
import structlog

pytest.register_assert_rewrite("tests.support")  # before anything imports it

pytest_plugins = [
    "tests.support.audited",
    "tests.support.browser",
    "tests.support.chaos",
    "tests.support.dialect_servers",
    "tests.support.engines",
    "tests.support.faces",
    "tests.support.fakes",
    "tests.support.fuzz",
    "tests.support.late_interaction",
    "tests.support.vllm_serve",
    "tests.support.qwen3_tokenizer",
    "tests.support.hub",
    "tests.support.infinity",
    "tests.support.databases",
    "tests.support.node",
    "tests.support.node_embedder",
    "tests.support.parallel",
    "tests.support.s3",
    "tests.support.scripted_node",
    "tests.support.stores",
]


def pytest_configure() -> None:
    """Logs plain tracebacks: to draw a rich one takes a second, and tests of errors make hundreds."""
    *processors, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, plain])
