"""Tests that share what is slow to start share a worker."""

from tests.support.parallel import group_of


def test_groups_follow_parameters_and_files() -> None:
    search = "tests/contract/vector_store/test_search.py"
    assert group_of(f"{search}::test_a[milvus_server_store]") == "stores"
    assert group_of(f"{search}::test_a[lite_embedded_store]") == search
    assert group_of("tests/contract/test_embedder.py::TestX::test_a[tiny_embedder]") == "engines"
    assert group_of("tests/integration/engines/test_http_engines.py::test_a") == "engines"
    for file in ("e2e/test_command_line", "e2e/test_qwen3_node", "integration/engines/test_several_devices"):
        assert group_of(f"tests/{file}.py::test_a") == "engines"
    assert group_of("tests/chaos/test_workers.py::test_a") == "stores"
    assert group_of("tests/integration/deploy/test_nginx.py::test_a") == "stores"
    assert group_of("tests/integration/api/test_search_api.py::test_a") == "node"
    assert group_of("tests/unit/app/test_settings.py::test_a") == "tests/unit/app/test_settings.py"
