"""The commands that talk to a node, against one with made-up models."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import structlog
from typer.testing import CliRunner, Result

from app.cli import main as cli
from app.cli.client.node_client import Client
from app.main import create_app
from app.settings import Settings
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

KEY = "right"
TOKEN_SECRET = "a secret of thirty-two bytes, and a few more"
ROOT = Path(__file__).parents[3]
Tandem = Callable[..., Awaitable[Result]]


@pytest.fixture(scope="module")
def quiet_node() -> Iterator[None]:
    """The node in this process writes its log to the process's stderr, never into what commands print."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
async def url(quiet_node: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("node")
    components = real_but_for(FakeEmbedder(), FakeReranker(), folder)
    tokens: dict[str, Any] = {"token_issuer": "issuer", "token_audience": "tandem", "token_secret": TOKEN_SECRET}
    settings = Settings(data_dir=folder, selftest_margin=False, api_keys=KEY, max_documents=150, **tokens)  # type: ignore[arg-type]
    async with listening(create_app(settings, components)) as served:
        yield served.url


@pytest.fixture(scope="module")
async def tandem(url: str) -> Tandem:
    """The command in a thread of its own: the node runs in this one."""

    async def run(*arguments: object, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Result:
        environment = {"TANDEM_URL": url, "TANDEM_API_KEY": KEY, **(env or {})}
        invoke = partial(CliRunner().invoke, cli.app, [str(each) for each in arguments], prog_name="tandem")
        return await asyncio.to_thread(invoke, input=stdin, env=environment)

    return run


async def told(tandem: Tandem, *arguments: object, stdin: str | bytes = b"", status: int = 0) -> Any:
    """What `--json` prints: all of stdout is one document."""
    result = await tandem(*arguments, "--json", stdin=stdin)
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
async def harbour(tandem: Tandem, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A collection of three documents."""
    folder = tmp_path_factory.mktemp("harbour")
    for number in range(3):
        (folder / f"p{number}.md").write_text(f"Passage {number} speaks of harbour number {number}.")
    await told(tandem, "collections", "create", "harbour", "--metadata-key", "year=int")
    result = await tandem("ingest", folder, "-c", "harbour", "--metadata", "year=2024")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 ready: 3 chunks")
    return "harbour"


async def test_collections_come_and_go(tandem: Tandem) -> None:
    options = ("--language", "en", "--chunking", "128:16", "--duplicates", "skip", "--metadata-key", "year=int")
    made = await told(tandem, "collections", "create", "short", *options)
    assert (made["language"], made["chunking"]) == ("en", {"max_tokens": 128, "overlap": 16})
    assert (made["duplicates"], made["metadata_keys"]) == ("skip", {"year": "int"})
    assert "short" in [each["name"] for each in (await told(tandem, "collections", "list"))["collections"]]
    shown = await tandem("collections", "show", "short")
    assert "128:16" in shown.stdout
    assert "year (int)" in shown.stdout
    assert (await told(tandem, "collections", "show", "short"))["chunks"] == 0
    assert (await told(tandem, "collections", "delete", "short", "--yes")) == {"deleted": ["short"]}
    gone = await told(tandem, "collections", "show", "short", status=4)
    assert gone["error"]["code"] == "collection_not_found"


async def test_documents_are_listed_shown_and_deleted(tandem: Tandem, harbour: str) -> None:
    await told(tandem, "ingest", "-", "--name", "sub folder/gone?.md", "-c", harbour, stdin="Words that go.")
    listed = (await told(tandem, "documents", "list", "-c", harbour))["documents"]
    assert [each["id"] for each in listed] == ["p0.md", "p1.md", "p2.md", "sub folder/gone?.md"]
    shown = await tandem("documents", "list", "-c", harbour)
    assert "4 documents in harbour" in shown.stdout
    assert re.search(r"p1\.md +ready +1 +\d+ +en ", shown.stdout)
    [row] = [line for line in (await tandem("collections", "list")).stdout.splitlines() if line.startswith(harbour)]
    assert "en (" in row
    found = await told(tandem, "documents", "show", "p1.md", "-c", harbour)
    assert (found["state"], found["metadata"]) == ("ready", {"year": 2024})
    assert [chunk["text"] for chunk in found["content"]] == ["Passage 1 speaks of harbour number 1."]
    shown = (await tandem("documents", "show", "p1.md", "-c", harbour)).stdout
    assert "text/markdown" in shown
    assert "chunk 1, 0-37" in shown
    assert "Passage 1 speaks of harbour number 1." in shown
    brief = await tandem("documents", "show", "p1.md", "-c", harbour, "--no-text")
    assert "Passage 1 speaks" not in brief.stdout
    gone = await told(tandem, "documents", "delete", "sub folder/gone?.md", "-c", harbour)
    assert gone == {"deleted": ["sub folder/gone?.md"]}
    missing = await told(tandem, "documents", "show", "sub folder/gone?.md", "-c", harbour, status=4)
    assert missing["error"]["code"] == "document_not_found"


async def test_standard_input_is_a_document(tandem: Tandem) -> None:
    page = "<html><body><h1>Tides</h1><p>The tide rises.</p></body></html>"
    sent = await told(tandem, "ingest", "-", "--name", "page", "--media-type", "text/html", stdin=page)
    assert [(each["id"], each["status"]) for each in sent["documents"]] == [("page", "ready")]
    assert (await told(tandem, "documents", "show", "page"))["media_type"] == "text/html"
    first, again = [(await told(tandem, "ingest", "-", stdin="No name."))["documents"][0] for _ in range(2)]
    assert (first["status"], again["status"], again["id"]) == ("ready", "unchanged", first["id"])
    empty = await told(tandem, "ingest", "-", stdin="", status=4)
    assert empty["error"]["code"] == "empty_text"


async def test_lines_are_documents_in_several_requests(tandem: Tandem) -> None:
    lines = [{"id": f"l{number}", "text": f"Line {number}.", "title": f"L{number}"} for number in range(120)]
    lines[7]["metadata"] = {"year": 1}
    text = "\n".join(map(json.dumps, lines))
    sent = await told(tandem, "ingest", "-", "--jsonl", "--metadata", "year=2", stdin=text)
    assert [each["id"] for each in sent["documents"]] == [f"l{number}" for number in range(120)]
    found = [await told(tandem, "documents", "show", f"l{number}") for number in (6, 7)]
    assert [(each["title"], each["metadata"]) for each in found] == [("L6", {"year": 2}), ("L7", {"year": 1})]


async def test_documents_that_fail_are_status_1(tandem: Tandem, tmp_path: Path) -> None:
    (tmp_path / "spoilt.pdf").write_bytes(b"%PDF-1.4 nothing follows")
    result = await tandem("ingest", tmp_path / "spoilt.pdf")
    assert (result.exit_code, "parse_failed spoilt.pdf: " in result.stdout) == (1, True)
    again = await told(tandem, "ingest", tmp_path / "spoilt.pdf", status=1)
    assert again["documents"][0]["error"]["code"] == "parse_failed"


async def test_one_question_and_several(tandem: Tandem, harbour: str) -> None:
    one = await told(tandem, "search", "harbour number 1", "-c", harbour, "-k", "2")
    assert one["hits"][0]["document_id"] == "p1.md"
    year = '{"type": "eq", "key": "metadata.year", "value": 2023}'
    assert (await told(tandem, "search", "harbour", "-c", harbour, "--filter", year))["hits"] == []
    brief = await told(
        tandem, "search", "harbour number 1", "-c", harbour, "--include", "title", "--include", "section"
    )
    assert (
        {"title", "section"}
        < brief["hits"][0].keys()
        == one["hits"][0].keys() - {*("text", "metadata", "scores", "ranks")}
    )
    assert (await tandem("search", "harbour", "-c", harbour, "--include", "title")).exit_code == 2
    questions = [f"harbour number {number % 3}" for number in range(40)]
    several = await told(tandem, "search", "-", "-c", harbour, "-k", "1", stdin="\n".join(questions))
    assert [each["hits"][0]["document_id"] for each in several["results"]] == [f"p{n % 3}.md" for n in range(40)]
    shown = await tandem("search", "-", "-c", harbour, "-k", "1", stdin="harbour number 2\nharbour number 0\n")
    assert shown.stdout.count("harbour number 2") >= 1
    assert shown.stdout.index("p2.md") < shown.stdout.index("p0.md")


async def test_jobs_are_shown_watched_and_cancelled(tandem: Tandem, url: str) -> None:
    with Client(url, KEY) as client:
        job = (await asyncio.to_thread(client.ingest, documents=[{"id": "j", "text": "A job."}]))["job_id"]
    assert [each["state"] for each in (await told(tandem, "jobs", "watch", job))["jobs"]] == ["succeeded"]
    shown = await tandem("jobs", "show", job)
    assert f"{job}: succeeded, 1 of 1 documents have ended" in shown.stdout
    assert "1 ready: 1 chunks" in shown.stdout
    assert (await told(tandem, "jobs", "show", job))["documents"][0]["id"] == "j"
    assert (await told(tandem, "jobs", "cancel", job)) == (await told(tandem, "cancel", job))
    assert (await told(tandem, "jobs", "show", "none", status=4))["error"]["code"] == "job_not_found"


async def test_an_audit_as_json(tandem: Tandem, harbour: str) -> None:
    assert (await told(tandem, "audit", "-c", harbour))["clean"] is True


async def test_a_key_is_created_with_a_filter(tandem: Tandem) -> None:
    tree = {"type": "eq", "key": "metadata.audience", "value": "客户"}
    made = await told(tandem, "keys", "create", "of customers", "-s", "search", "--filter", json.dumps(tree))
    assert made["filter"] == tree
    shown = await tandem("keys", "show", made["id"])
    assert '"value": "客户"' in "".join(shown.stdout.split("\n"))
    wrong = await tandem("keys", "create", "of customers", "-s", "search", "--filter", "audience")
    assert wrong.exit_code == 2
    await told(tandem, "keys", "revoke", made["id"], "--yes")


async def test_groups_of_documents_keys_and_tokens(tandem: Tandem, tmp_path: Path) -> None:
    for name, groups in (("board", ("board",)), ("all", ("board", "staff")), ("nobody", ())):
        (tmp_path / f"{name}.md").write_text(f"The second kiln, as {name} read of it.")
        if name == "board":
            assert (await told(tandem, "collections", "create", "minutes", "--principals"))["principals"]
        options = [option for group in groups for option in ("--group", group)]
        await told(tandem, "ingest", tmp_path / f"{name}.md", "-c", "minutes", *options)
    await told(
        tandem, "ingest", "-", "--name", "in", "-c", "minutes", "--group", "staff", stdin="The kiln of all staff."
    )
    made = await told(tandem, "keys", "create", "of staff", "-s", "search", "--group", "staff")
    assert made["groups"] == ["staff"]
    assert "staff" in (await tandem("keys", "show", made["id"])).stdout

    claims = {"iss": "issuer", "aud": "tandem", "exp": 2**33, "groups": ["board"]}
    tokens = {KEY: jwt.encode(claims, TOKEN_SECRET, "HS256")}
    for key, expected in ((KEY, ["all.md", "board.md"]), (made["key"], ["all.md", "in"])):
        env = {"TANDEM_API_KEY": key, "TANDEM_TOKEN": tokens.get(key, "")}
        found = json.loads((await tandem("search", "second kiln", "-c", "minutes", "--json", env=env)).stdout)
        assert sorted(hit["document_id"] for hit in found["hits"]) == expected
        listed = json.loads((await tandem("documents", "list", "-c", "minutes", "--json", env=env)).stdout)
        assert [each["id"] for each in listed["documents"]] == expected
    refused = await tandem("documents", "list", "-c", "minutes", env={"TANDEM_TOKEN": "a.b.c"})
    assert (refused.exit_code, "token is not valid" in refused.stderr) == (4, True)
    await told(tandem, "keys", "revoke", made["id"], "--yes")
    await told(tandem, "collections", "delete", "minutes", "--yes")


async def test_without_a_key_the_node_refuses(tandem: Tandem) -> None:
    for arguments in (("search", "x"), ("documents", "list"), ("collections", "list"), ("jobs", "show", "x")):
        result = await tandem(*arguments, env={"TANDEM_API_KEY": "wrong"})
        assert (result.exit_code, result.stdout) == (4, "")
        assert result.stderr.startswith("tandem: This node requires an API key")


async def test_the_shell_is_offered_collections_and_nothing_where_no_node_is(tandem: Tandem, harbour: str) -> None:
    for words, url, offered in (
        ("tandem search x -c ha", None, "harbour"),
        ("tandem collections show ha", None, "harbour"),
        ("tandem audit -c ha", None, "harbour"),
        ("tandem search x -c x", None, ""),
        ("tandem search x -c ha", "http://127.0.0.1:9", ""),
        ("tandem search x --mode sp", None, "sparse"),
        ("tandem reembed docs --models qwen3-8", None, "qwen3-8b"),
        ("tandem ing", None, "ingest"),
        ("tandem ingest --wat", None, "--watch"),
    ):
        env = {"_TANDEM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        result = await tandem(env=env | ({"TANDEM_URL": url} if url else {}))
        assert (result.stdout.strip(), result.stderr) == (offered, ""), words


async def test_a_folder_is_followed_until_sigterm(url: str, tandem: Tandem, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.md", "sub/b.md"):
        (tmp_path / name).write_text(f"The words of {name}.")
    await told(tandem, "collections", "create", "followed")
    command = ["ingest", "--watch", "--delete", "--json", "-c", "followed", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli.main", *command),
        env={**os.environ, "TANDEM_URL": url, "TANDEM_API_KEY": KEY},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert process.stderr

    async def rounds(enough: Callable[[list[str], list[str]], bool]) -> None:
        """Reads lines until they tell of what is waited for."""
        assert process.stdout
        sent: list[str] = []
        deleted: list[str] = []
        async with asyncio.timeout(30):
            while not enough(sent, deleted):
                line = json.loads(await process.stdout.readline())
                sent += [each["id"] for each in line["documents"] if each["status"] != "unchanged"]
                deleted += line["deleted"]

    try:
        await rounds(lambda sent, _: sent == ["a.md", "sub/b.md"])
        (tmp_path / "sub" / "c.md").write_text("The words of c.")
        (tmp_path / "sub" / "c.md~").write_text("An editor's copy.")
        (tmp_path / "a.md").unlink()
        await rounds(lambda sent, deleted: "sub/c.md" in sent and deleted == ["a.md"])
    finally:
        process.send_signal(signal.SIGTERM)
        rest, said = await process.communicate()
    assert (process.returncode, rest) == (0, b""), said
    assert said.decode() == f"Watching {tmp_path}: Ctrl-C ends it.\n"
    listed = (await told(tandem, "documents", "list", "-c", "followed"))["documents"]
    assert [each["id"] for each in listed] == ["sub/b.md", "sub/c.md"]
    again = (await told(tandem, "ingest", tmp_path, "-c", "followed"))["documents"]
    assert [(each["id"], each["status"]) for each in again] == [("sub/b.md", "unchanged"), ("sub/c.md", "unchanged")]


async def test_what_is_written_into_a_pipe_has_no_control_sequences(url: str, harbour: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli.main", "search", "harbour number 1", "-c", harbour),
        env={**os.environ, "TANDEM_URL": url, "TANDEM_API_KEY": KEY, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"p1.md" in output
    assert not set(b"\r\x1b") & set(output)
