"""Which tests share a worker process where several run them (`pytest -n 2 --dist loadgroup`).

What is slow to start lives for a session, and each worker has its own session: tests that share an engine, a server
or a node share a worker, and so do the tests of one file.
"""

from collections.abc import Mapping
from typing import Final

import pytest

GROUPS: Final[Mapping[str, frozenset[str]]] = {
    # A machine runs one Milvus server at a time: nothing that needs it may be in another group.
    "stores": frozenset({"milvus_server", "milvus_server_store", "lite_server", "lite_server_store"}),
    "engines": frozenset(
        f"{name}_{kind}"
        for name in ("tiny", "reduced", "minilm", "http", "sglang", "tei", "infinity")
        for kind in ("embedder", "reranker")
    )
    | {"embedding_server", "reranking_server", "infinity_url"},
    "node": frozenset({"node", "face"}),
}
"""The fixtures of each group. A test whose fixtures are of several belongs to the first; these groups run first."""


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not getattr(config.option, "loadgroup", False):  # set in workers, where `dist` is "no"
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item) or str(item.path)))
    order = {name: number for number, name in enumerate(GROUPS)}
    items.sort(key=lambda item: order.get(_group(item) or "", len(order)))


def _group(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    # Contract tests name the implementation in a parameter, and ask for its fixture at run time.
    named = {value for value in callspec.params.values() if isinstance(value, str)} if callspec else set()
    used = named.union(getattr(item, "fixturenames", ()))
    return next((group for group, fixtures in GROUPS.items() if used & fixtures), None)
