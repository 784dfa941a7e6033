"""Which tests share a worker process where several run them (`pytest -n 2`).

What is slow to start lives for a session, and each worker has its own session: tests that share an engine, a server
or a node share a worker, and so do the tests of one file.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
GROUPS: Final[Mapping[str, str]] = {
    # A machine runs one Milvus server at a time: nothing that needs it may be in another group.
    "stores": r"\b(milvus_server|lite_server|cluster_of|milvus_server_store|lite_server_store)\b",
    # Engines are never in both workers at a time: 24 GB do not hold so many.
    "engines": r"\b((tiny|reduced|minilm|http|sglang|tei|infinity)_(embedder|reranker)"
    r"|(embedding|reranking)_server|infinity_url|VllmEngine|nodes\.served|tiny_embedding_folder)\b",
    "node": r"\b(node: NodeUnderTest|face: Face)\b",
}
"""The fixtures of each group, as their names stand in a test's parameters or in its file. The first that is found
counts; these groups run first."""


class GroupScheduling(LoadScopeScheduling):
    """Gives a worker all tests of a group."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `many_engines` run first: 24 GB do not hold their engines and those that live for a session."""
    if hasattr(config, "workerinput"):
        order = {name: number for number, name in enumerate(GROUPS)}
        items.sort(key=lambda item: order.get(group_of(item.nodeid), len(order)))
    items.sort(key=lambda item: item.get_closest_marker("many_engines") is None)


def group_of(nodeid: str) -> str:
    """Returns the group of a test, the path of its file where it has none."""
    path, _, test = nodeid.partition("::")
    # A contract's test names the implementation in a parameter.
    named = (name for name, fixtures in GROUPS.items() if re.search(fixtures, test))
    return next(named, _group_of_file(path) or path)


@cache
def _group_of_file(path: str) -> str | None:
    text = (ROOT / path).read_text(encoding="utf-8")
    return next((name for name, fixtures in GROUPS.items() if re.search(fixtures, text)), None)
