"""Fixtures that tests share."""

import gc
from typing import Final

import hypothesis
import pytest
import structlog

pytest.register_assert_rewrite("tests.support")  # before anything imports it

# What every process needs: options, hooks of xdist.
pytest_plugins = [
    "tests.support.faults.chaos",
    "tests.support.fuzz",
    "tests.support.parallel",
]
FIXTURES: Final = (
    "stores.audited",
    "nodes.browser",
    "models.dialect_servers",
    "models.engines",
    "nodes.faces",
    "models.fakes",
    "models.late_interaction",
    "models.vllm_serve",
    "models.qwen3_tokenizer",
    "models.hub",
    "models.infinity",
    "stores.databases",
    "nodes.node",
    "models.node_embedder",
    "stores.s3",
    "nodes.scripted_node",
    "stores.stores",
)
"""Modules of tests.support, loaded where tests run: they import the whole service, which takes seconds."""


def pytest_configure(config: pytest.Config) -> None:
    """Prepares a process that runs tests. With `-n`, workers do; the process that started them runs none."""
    if config.option.dist != "no":
        return
    gc.disable()  # until the tests are collected: modules and tests live as long as the process
    for module in FIXTURES:
        config.pluginmanager.import_plugin(f"tests.support.{module}")
    hypothesis.settings.register_profile("tests", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("tests")
    _log_plain_tracebacks()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Collects garbage from here on, and never looks through what was imported."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries report what is left at the end as leaked


def _log_plain_tracebacks() -> None:
    """To draw a rich one takes a second, and tests of errors make hundreds."""
    *processors, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, plain])
