"""Open WebUI itself, with the settings of deploy/docs/en/open-webui.md: a file that is uploaded to it is embedded by a
node, and its retrieval endpoint answers with passages that the node has reranked.

`make open-webui` installs it in an environment of its own and runs this. Without that environment it is skipped.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import httpx
import pytest

from tests.support.nodes.killable_process import KillableProcess, killable_process
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy" / "docs" / "en" / "open-webui.md"
ENVIRONMENT: Final = Path(os.environ.get("OPEN_WEBUI_ENVIRONMENT", ROOT / ".venv-open-webui"))
PROGRAM = ENVIRONMENT / "bin" / "open-webui"
KEY = "a-key"
NODE_SECONDS = 150
START_SECONDS = 300
"""Its first start makes a database and imports torch."""
PROCESS_SECONDS = 120

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason=f"no {PROGRAM}: make open-webui"),
    pytest.mark.timeout(NODE_SECONDS + START_SECONDS + 2 * PROCESS_SECONDS),
]

HANDBOOK = "\n\n".join(
    f"{title}\n\n{text} "
    + " ".join(f"Remark {number} on {title.lower()} adds nothing to this." for number in range(20))
    for title, text in {
        "Opening hours": "The pottery opens at nine in the morning and closes at six, except on Mondays.",
        "Glazing": "Glaze is stirred for ten minutes and sieved twice before a bowl is dipped into it.",
        "Cooling": "After the second firing the kiln stays shut for eighteen hours, or the bowls crack.",
        "Clay": "Fresh clay lies under wet cloth in the cellar, where it keeps for a year.",
        "Prices": "A place at the wheel costs twelve euros an hour, clay included.",
        "Courses": "Beginners meet on Tuesday evenings and throw cylinders for the first six weeks.",
        "Tools": "Wire, sponge and ribs hang above the sink, and go back there when they are clean.",
        "Parking": "Cars stand behind the barn; the yard stays free for the lorry with the wood.",
    }.items()
)
QUERY = "How long must the oven remain closed so that nothing breaks?"
ANSWER = "eighteen hours"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("node"), free_port()
    settings = {
        "TANDEM_MODELS": "minilm",
        "TANDEM_ENFORCE_EAGER": "true",
        "TANDEM_API_KEYS": KEY,
        "TANDEM_PUBLIC_METRICS": "true",
        "TANDEM_DATA_DIR": str(folder / "data"),
    }
    url = f"http://127.0.0.1:{port}"
    with killable_process(["serve", "--port", str(port)], folder / "node.log", settings) as process:
        wait_until(lambda: _ready(process, url), seconds=NODE_SECONDS)
        yield url


def _ready(process: KillableProcess, url: str) -> bool:
    assert process.running(), process.said()
    return _answers(f"{url}/health/ready")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def page_settings(node: str) -> Mapping[str, str]:
    """Those of the page, with this node's address."""
    found = dict(re.findall(r"^([A-Z_]+)=(.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    return {name: value.replace("http://tandem:8080", node) for name, value in found.items()}


@pytest.fixture(scope="module")
def open_webui(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The product, with its first user, who is its administrator, signed up."""
    folder, port = tmp_path_factory.mktemp("open-webui"), free_port()
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **inherited,
        **page_settings(node),
        "DATA_DIR": str(folder),
        "WEBUI_SECRET_KEY": "of this test",
        # Nothing is asked from a hub, and no chat model is part of this.
        "OFFLINE_MODE": "true",
        "ENABLE_OLLAMA_API": "false",
        "ENABLE_OPENAI_API": "false",
    }
    log = folder / "open-webui.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"

    def started() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        return _answers(f"{url}/health")

    try:
        wait_until(started, seconds=START_SECONDS)
        with httpx.Client(base_url=url, timeout=PROCESS_SECONDS, trust_env=False) as http:
            user = {"name": "Ada", "email": "ada@example.com", "password": "a long password of Ada"}
            signed_up = http.post("/api/v1/auths/signup", json=user).raise_for_status().json()
            assert signed_up["role"] == "admin"
            http.headers["Authorization"] = f"Bearer {signed_up['token']}"
            yield http
        print(log.read_text(errors="replace")[-3000:])  # noqa: T201  # shown if a test fails
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def counted(node: str) -> Mapping[str, float]:
    """What the node counted so far."""
    lines = httpx.get(f"{node}/metrics", trust_env=False).raise_for_status().text.splitlines()
    figures = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in figures}


def grown(before: Mapping[str, float], after: Mapping[str, float], *wanted: str) -> float:
    """By how much the metrics grew that hold all of `wanted`."""
    names = [name for name in after if all(word in name for word in wanted)]
    return sum(after[name] - before.get(name, 0) for name in names)


def uploaded(open_webui: httpx.Client) -> str:
    """The id of the file, once Open WebUI has processed it."""
    answer = open_webui.post("/api/v1/files/", files={"file": ("handbook.txt", HANDBOOK.encode(), "text/plain")})
    file_id = str(answer.raise_for_status().json()["id"])
    deadline = monotonic() + PROCESS_SECONDS
    while (status := open_webui.get(f"/api/v1/files/{file_id}/process/status").raise_for_status().json()) != {
        "status": "completed"
    }:
        assert status.get("status") != "failed", status
        assert monotonic() < deadline, status
        sleep(0.5)
    return file_id


def test_a_file_is_embedded_searched_and_reranked_by_the_node(node: str, open_webui: httpx.Client) -> None:
    settings = page_settings(node)
    at_first = counted(node)
    file_id = uploaded(open_webui)
    embedded = counted(node)
    texts = grown(at_first, embedded, "tandem_engine_texts_total", 'model="embed"', 'lane="bulk"')
    assert texts >= 8
    assert grown(at_first, embedded, "tandem_http_requests_total", '"/v1/embeddings"', '"200"') <= -(-texts // 32) + 1
    assert grown(at_first, embedded, "tandem_engine_texts_total", 'model="embed"', 'lane="interactive"') == 0

    query = {"collection_name": f"file-{file_id}", "query": QUERY}
    found = open_webui.post("/api/v1/retrieval/query/doc", json=query).raise_for_status().json()
    passages, scores = found["documents"][0], found["distances"][0]
    assert ANSWER in passages[0], passages
    assert 1 < len(passages) <= int(settings["RAG_TOP_K_RERANKER"])
    assert scores == sorted(scores, reverse=True)

    searched = counted(node)
    assert grown(embedded, searched, "tandem_engine_texts_total", 'model="embed"', 'lane="interactive"') >= 1
    assert grown(embedded, searched, "tandem_engine_texts_total", 'model="embed"', 'lane="bulk"') == 0
    assert grown(embedded, searched, "tandem_http_requests_total", '"/v1/rerank"', '"200"') == 1
    assert grown(embedded, searched, "tandem_engine_texts_total", 'model="rerank"') >= len(passages)
    answered = httpx.post(
        f"{node}/v1/rerank",
        headers={"Authorization": f"Bearer {KEY}"},
        json={"model": "tandem", "query": QUERY, "documents": passages},
        trust_env=False,
    )
    by_node = {each["index"]: each["relevance_score"] for each in answered.raise_for_status().json()["results"]}
    assert scores == pytest.approx([by_node[place] for place in range(len(passages))], abs=0.02)

    collection = {"collection_names": [query["collection_name"]], "query": QUERY}
    several = open_webui.post("/api/v1/retrieval/query/collection", json=collection).raise_for_status().json()
    assert ANSWER in several["documents"][0][0]


def test_the_settings_are_in_force(node: str, open_webui: httpx.Client) -> None:
    settings = page_settings(node)
    embedding = open_webui.get("/api/v1/retrieval/embedding").raise_for_status().json()
    assert embedding["RAG_EMBEDDING_ENGINE"] == "openai"
    assert embedding["RAG_EMBEDDING_MODEL"] == settings["RAG_EMBEDDING_MODEL"]
    retrieval = open_webui.get("/api/v1/retrieval/config").raise_for_status().json()
    assert retrieval["ENABLE_RAG_HYBRID_SEARCH"] is True
    assert retrieval["RAG_EXTERNAL_RERANKER_URL"] == settings["RAG_EXTERNAL_RERANKER_URL"]
    assert retrieval["TOP_K"] == int(settings["RAG_TOP_K"])
