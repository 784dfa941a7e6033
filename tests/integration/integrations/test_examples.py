"""The examples of README.md, of langchain-tandem and of the pages in deploy/docs/en do what they say, against a node
with made-up models.

Whatever stands in a fenced block is run, or is named here with the reason why it is not.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog

from app.main import create_app
from app.settings import Settings
from tests.support.docs.examples import PAGES, ROOT, Block, Examples, read_blocks
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

NOT_RUN = {
    r"(\w+=\S+\s|\\\n|\s)*make ": "sets up environments, starts nodes, or runs these tests",
    r"(\w+=\S+ )*(\.venv-npu/bin/)?tandem (serve|worker|doctor)\b": "nodes and workers; their own tests start them",
    r"\.venv-npu/bin/tandem plan": "of the device that is there",
    r"tandem (eval|bench) ": "minutes of work on judged collections; test_evaluate and test_bench run them",
    r"tandem (backup|restore) ": "of a stopped node's data; test_backup and test_command_line run them",
    r"tandem reembed ": "fills a collection anew; test_reembed runs it",
    r"(\.venv(-npu)?/bin/)?tandem models pull": "downloads models",
    r"tandem ingest .*--watch": "ends only when it is told to; test_cli runs it",
    r"(ASCEND_RT_VISIBLE_DEVICES=\d )?vllm serve |python -m sglang|text-embeddings-router |infinity_emb ": "servers",
    r"docker |npu-smi |source /usr/local/Ascend": "wants Docker or an NPU",
    r"kubectl |helm ": "wants a cluster",
    r"unzip ": "of an archive that the page writes; tests/ui reads one",
    r"export \w+=|(\w+=\S+\s*)+$": "settings alone",
    r"(\.venv/bin/)?pip |%pip |python3\.11 -m venv ": "downloads",
    r"tar |gunzip |grep |mkdir |cp |useradd |systemctl |journalctl |crontab |nginx |git clone ": "of the machine",
    r"printf |echo |cat > |END$|KEY=\$\(|(PREFIX=\S* )?envsubst ": "makes files and variables of secrets",
    r"\.venv/bin/python -c 'from pymilvus ": "sets the password of a Milvus server",
}
"""Commands by how they begin."""
NO_COMMANDS = {
    '{\n  "mcpServers"': "settings of assistants; test_mcp uses them",
    '{\n  "nodes"': "nodes of n8n; test_mcp sends what they send",
    '{\n  "name": "Tandem"': "what is typed into Dify; test_dify uses it",
    '{\n  "external_knowledge_id"': "the same",
    '{\n  "logical_operator"': "the same",
    '{\n  "model": "tandem"': "the same",
}
"""Whole blocks by how they begin."""
WITH_RESULTS = ("deploy/docs/en/jupyter.md", "deploy/docs/en/openai-and-rerank.md")
"""Pages whose Python tests of their own run, which look at what comes out as well."""
CREATED = re.compile(r"\{\s*\"name\": \"(\w+)\"|collections create (\w+)")


def reason_not_to_run(command: str) -> str | None:
    return next((reason for begin, reason in NOT_RUN.items() if re.match(begin, command)), None)


def commands_of(block: Block) -> list[str]:
    """None of code, drawings and output, and of what holds no commands."""
    none = block.language in ("python", "mermaid", "text") or block.text.startswith(tuple(NO_COMMANDS))
    return [] if none else block.commands()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    files = {
        "handbook/kiln.md": "The kiln is held at 1280 degrees.",
        "handbook/drafts/glaze.md": "Not finished.",
        "reports/2024/spring.md": "The report of spring.",
        "notes/door.md": "The north door opens at seven.",
        "notes.md": "A note.",
        "README.md": "What the kiln is for.",
        "documents.jsonl": json.dumps({"id": "line", "text": "A line.", "title": "L", "metadata": {"year": 2024}}),
        "questions.txt": "how hot is the kiln?\nwhen does the door open?\n",
        "home/documents/letter.txt": "A letter.",
        "资料/通知.md": "周三停水。",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for name in ("handbook.pdf", "minutes-2026-03.pdf"):
        (folder / name).write_bytes((ROOT / "deploy" / "samples" / "gpu-memory-shares.pdf").read_bytes())
    return folder


@pytest.fixture(scope="module")
def quiet_node() -> Iterator[None]:
    """Its log stays out of what commands print."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@asynccontextmanager
async def node_with_keys(data: Path) -> AsyncIterator[tuple[dict[str, str], str]]:
    """The variables by which `tandem` finds the node, and the id of a stored key."""
    components = real_but_for(FakeEmbedder(), FakeReranker(), data)
    settings = Settings(data_dir=data, selftest_margin=False, api_keys="right")  # type: ignore[arg-type]
    async with listening(create_app(settings, components)) as served:
        async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": "Bearer right"}) as http:
            created = await http.post("/keys", json={"name": "reports", "scopes": ["search"]})
            key_id = created.raise_for_status().json()["id"]
        yield {"TANDEM_URL": served.url, "TANDEM_API_KEY": "right"}, key_id


@pytest.fixture(scope="module")
async def examples(quiet_node: None, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Examples]:
    data = tmp_path_factory.mktemp("node")
    components = real_but_for(FakeEmbedder(), FakeReranker(), data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "home"))
        async with (
            listening(create_app(Settings(data_dir=data, selftest_margin=False), components)) as served,
            node_with_keys(tmp_path_factory.mktemp("node-with-keys")) as (keyed, key_id),
        ):
            patch.setenv("TANDEM_URL", served.url)
            async with httpx.AsyncClient(base_url=served.url) as http:
                documents = [{"id": id_, "text": "A note."} for id_ in ("note-1", "notes.md")]
                answer = await http.post("/ingest", json={"documents": documents, "wait": True})
                job = answer.raise_for_status().json()["job_id"]
            yield Examples(served.url, keyed, {"JOB_ID": job, "JOB": job, "KEY": "none", "ID": key_id})


def test_every_command_is_run_or_named_with_its_reason() -> None:
    commands = [command for page in PAGES for block in read_blocks(page) for command in commands_of(block)]
    runs = re.compile(r"(\.venv(-npu)?/bin/)?tandem |curl ")
    assert [each for each in commands if not runs.match(each) and not reason_not_to_run(each)] == []
    assert [begin for begin in NOT_RUN if not any(re.match(begin, each) for each in commands)] == []
    blocks = [block.text for page in PAGES for block in read_blocks(page)]
    assert [begin for begin in NO_COMMANDS if not any(text.startswith(begin) for text in blocks)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if read_blocks(page)], ids=str)
async def test_the_examples_of_a_page(examples: Examples, page: Path) -> None:
    blocks = read_blocks(page)
    commands = [each for block in blocks for each in commands_of(block) if not reason_not_to_run(each)]
    # What a page creates further down it may use further up.
    commands.sort(key=lambda command: CREATED.search(command) is None)
    for command in commands:
        await asyncio.to_thread(examples.command, command)
    for block in blocks:
        if block.language == "python":
            if str(page) in WITH_RESULTS:
                continue
            await asyncio.to_thread(examples.python, block)
