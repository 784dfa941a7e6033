import ast

import pytest

from app import ROOT
from app.settings import load_settings
from retrieval.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "HOST", "MODELS", "ENGINE", "API_KEYS", "DATABASE_URL", "EMBED_URL", "RERANK_URL"):
        monkeypatch.delenv(f"TANDEM_{name}", raising=False)


def test_defaults_stay_on_loopback() -> None:
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.data_dir.is_absolute()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "http", ["TANDEM_PORT='http'", "integer"]),
        ("PORT", "tcp://10.0.0.1:8080", ["TANDEM_PORT='tcp://10.0.0.1:8080': an address", "enableServiceLinks: false"]),
        ("PORT", "70000", ["TANDEM_PORT='70000'", "65535"]),
        ("ENGINE", "onnx", ["TANDEM_ENGINE='onnx'", "'vllm', 'http' or 'node'"]),
        ("EMBED_DIALECT", "ollama", ["TANDEM_EMBED_DIALECT='ollama'", "'sglang', 'tei' or 'infinity'"]),
        ("WORKERS", "-1", ["TANDEM_WORKERS='-1'"]),
        ("EMBED_MEMORY_SHARE", "1.5", ["TANDEM_EMBED_MEMORY_SHARE='1.5'"]),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", value)
    with pytest.raises(ConfigurationError) as failure:
        load_settings()
    assert "\n" not in failure.value.message
    assert all(word in failure.value.message for word in words)


def test_http_needs_both_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_ENGINE", "http")
    monkeypatch.setenv("TANDEM_EMBED_URL", "http://127.0.0.1:8001")
    with pytest.raises(ConfigurationError, match=r"^TANDEM_ENGINE=http needs TANDEM_RERANK_URL$"):
        load_settings()


@pytest.mark.parametrize("name", ["tei", "infinity"])
def test_priority_needs_an_embedding_server_that_knows_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for key, value in {"ENGINE": "http", "EMBED_URL": "http://h:1", "RERANK_URL": "http://h:2"}.items():
        monkeypatch.setenv(f"TANDEM_{key}", value)
    monkeypatch.setenv("TANDEM_ENGINE_PRIORITY", "true")
    monkeypatch.setenv("TANDEM_RERANK_DIALECT", name)
    assert load_settings().engine_priority
    monkeypatch.setenv("TANDEM_EMBED_DIALECT", name)
    with pytest.raises(ConfigurationError, match=rf"^TANDEM_ENGINE_PRIORITY: {name} has no priorities$"):
        load_settings()


@pytest.mark.parametrize(("name", "value"), [("LOAD_FORMAT", "dummy"), ("QUERY_ENGINE", "true")])
def test_what_needs_engines_of_the_node(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", value)
    load_settings()
    monkeypatch.setenv("TANDEM_ENGINE", "node")
    monkeypatch.setenv("TANDEM_NODE_URL", "http://127.0.0.1:8080")
    with pytest.raises(ConfigurationError, match=rf"^TANDEM_{name}={value} needs TANDEM_ENGINE=vllm$"):
        load_settings()


def test_keys_are_split_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_API_KEYS", "one, two,")
    monkeypatch.setenv("TANDEM_DATABASE_URL", "postgresql://u:hunter2@h/d")
    settings = load_settings()
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert "hunter2" not in repr(settings)
    assert "one" not in repr(settings.api_keys)


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def reads_of_the_environment(module: ast.Module) -> list[str]:
    """Names of the TANDEM_ variables that a module reads from the environment."""
    found: list[ast.expr] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("environ.get", "getenv")):
            found += node.args[:1]
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("environ"):
            found.append(node.slice)
        if isinstance(node, ast.Compare) and any(ast.unparse(each).endswith("environ") for each in node.comparators):
            found.append(node.left)
    return [
        name
        for each in found
        if (name := ast.unparse(each).strip("'\"f")).startswith(("TANDEM_", "{PREFIX}", "PREFIX"))
    ]


@pytest.mark.parametrize("code", ['os.environ["TANDEM_A"]', 'os.environ.get("TANDEM_A")', 'os.getenv(PREFIX + "A")',
                                  '"TANDEM_A" in os.environ'])  # fmt: skip
def test_reads_of_the_environment_are_found(code: str) -> None:
    assert reads_of_the_environment(ast.parse(code))


def test_no_other_module_reads_settings_from_the_environment() -> None:
    modules = {
        path: path.read_text()
        for package in ("app", "ingestion", "retrieval")
        for path in (ROOT / package).rglob("*.py")
        if "langchain-plugin" not in path.parts
    }
    readers = {
        str(path.relative_to(ROOT)): names
        for path, code in modules.items()
        # A module without these words cannot read the environment: parsing it would only take time.
        if ("environ" in code or "getenv" in code) and (names := reads_of_the_environment(ast.parse(code)))
    }
    assert not readers
