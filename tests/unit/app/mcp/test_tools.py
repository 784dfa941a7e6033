"""What the tools say of answers that a healthy node seldom gives; the rest is tested on a node."""

import asyncio
import json
from typing import Any

import pytest
from mcp_types import TextContent
from structlog.testing import capture_logs

from app.mcp.backends import HttpBackend
from app.mcp.schemas import MAX_PASSAGE_CHARACTERS, Json
from app.mcp.tools import Tools
from app.telemetry.metrics import Metrics
from ingestion.errors import Overloaded
from langchain_tandem.client import NodeUnreachable
from retrieval.errors import CollectionNotFound


def hit(text: str = "text", **fields: Any) -> dict[str, Any]:
    plain = {"title": "", "document_id": "d", "chunk_id": "c", "page": None, "score": 0.5, "metadata": {}}
    return {**plain, "section": [], "language": None, "text": text, **fields}


def answer(*hits: Json, **fields: Any) -> dict[str, Any]:
    healthy = {
        "rerank": {"applied": True, "reason": None, "candidates": 2, "scored": 2},
        "recall": {"mode": "hybrid", "reason": None},
        "score_name": "rerank",
        "truncated_query_tokens": 0,
    }
    return {"hits": list(hits), **healthy, **fields}


def job(status: str, state: str = "succeeded", **fields: Any) -> dict[str, Any]:
    receipt = {"id": "d", "status": status, "chunks": 1, "tokens": 3, "duplicate_of": None, "error": None, **fields}
    return {"job_id": "j", "state": state, "collection": "docs", "documents": [receipt]}


MODEL: Json = {"fingerprint": {"model": "m"}}


class Told:
    """A node that gives one answer, or raises it, and keeps what it was asked."""

    def __init__(self, told: Any) -> None:
        self._told = told
        self.asked: list[Any] = []

    async def search(self, request: Json) -> Json:
        return self._tell(request)

    async def ingest(self, request: Json, wait_seconds: float) -> Json:
        assert wait_seconds < 60
        return self._tell(request)

    async def collections(self) -> list[Json]:
        return self._tell(None)

    def _tell(self, request: Any) -> Any:
        self.asked.append(request)
        if isinstance(self._told, Exception):
            raise self._told
        return self._told


async def call(told: Any, tool: str, **arguments: Any) -> tuple[bool, str, Any]:
    result = await Tools(Told(told)).call(tool, arguments)
    [content] = result.content
    assert isinstance(content, TextContent)
    return bool(result.is_error), content.text, result.structured_content


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"rerank": {"applied": False, "reason": "engine_dead"}, "score_name": "fused"}, "not reranked (engine_dead)"),
        (
            {"rerank": {"applied": "partial", "reason": "budget", "candidates": 9, "scored": 4}},
            "Only 4 of 9 candidates",
        ),
        ({"recall": {"mode": "sparse", "reason": "model_language"}}, "Recall was sparse only (model_language)"),
        ({"truncated_query_tokens": 7}, "its last 7 tokens were not read"),
    ],
)
async def test_whatever_is_amiss_is_noted(fields: dict[str, Any], note: str) -> None:
    failed, text, data = await call(answer(hit(), **fields), "search", query="x")
    assert not failed
    assert len(data["notes"]) == 1
    assert note in data["notes"][0]
    assert text.endswith(f"Note: {data['notes'][0]}")


async def test_nothing_found_is_said() -> None:
    nothing = answer(rerank={"applied": False, "reason": "no_candidates"})
    assert await call(nothing, "search", query="x") == (
        False,
        "Nothing was found.",
        {"passages": [], "reranked": False, "score_name": "rerank", "notes": []},
    )


async def test_long_passages_are_cut_and_marked() -> None:
    _, text, data = await call(answer(hit("y" * 9000, page=3, score=None)), "search", query="x")
    [passage] = data["passages"]
    assert (len(passage["text"]), passage["text_is_cut"]) == (MAX_PASSAGE_CHARACTERS, True)
    assert text == f"[1] (document d, page 3)\n{'y' * MAX_PASSAGE_CHARACTERS} …"


async def test_a_passage_names_its_section() -> None:
    _, text, data = await call(answer(hit(section=["Guide", "Kilns"], score=None)), "search", query="x")
    assert data["passages"][0]["section"] == ["Guide", "Kilns"]
    assert text == "[1] (document d, section Guide > Kilns)\ntext"


@pytest.mark.parametrize(
    ("told", "failed", "searchable", "words"),
    [
        (job("ready"), False, True, "is searchable (ready; 1 chunks, 3 tokens)"),
        (job("unchanged"), False, True, "is searchable"),
        (job("replaced"), False, True, "is searchable"),
        (job("duplicate_of", duplicate_of="e"), False, False, "document e has the same text"),
        (job("queued", "running"), False, False, "taken as job j and is not searchable yet"),
        (
            job("failed", "failed", error={"code": "no_text", "message": "Empty."}),
            True,
            False,
            "failed: Empty. (no_text)",
        ),
    ],
)
async def test_each_receipt_is_told(told: Json, failed: bool, searchable: bool, words: str) -> None:
    is_error, text, data = await call(told, "ingest", text="x")
    assert (is_error, data["searchable"]) == (failed, searchable)
    assert words in text


async def test_a_call_names_the_collection_or_takes_the_one_of_the_command() -> None:
    node = Told(answer())
    tools = Tools(node, "notes")
    for arguments in ({"query": "x"}, {"query": "x", "collection": "docs"}):
        await tools.call("search", arguments)
    assert [request["collection"] for request in node.asked] == ["notes", "docs"]


async def test_many_collections_are_bounded() -> None:
    each = {"name": "c", "language": "en", "languages": {}, "metadata_keys": {"year": "int"}} | MODEL
    _, text, data = await call([each] * 203, "list_collections")
    assert (len(data["collections"]), data["left_out"]) == (200, 3)
    assert text.startswith("- c: language en; filters on metadata.year (int)\n")
    assert text.endswith("3 more are not shown.")


async def test_collections_name_the_languages_of_their_documents() -> None:
    each = {"name": "c", "language": "mixed", "languages": {"zh": 1200, "en": 3}, "metadata_keys": {}} | MODEL
    _, text, data = await call([each], "list_collections")
    assert text == "- c: languages zh (1,200), en (3)"
    assert data["collections"][0]["languages"] == {"zh": 1200, "en": 3}


async def test_expected_errors_are_told_and_defects_are_logged_not_told() -> None:
    assert await call(Overloaded("Try again shortly."), "search", query="x") == (True, "Try again shortly.", None)
    with capture_logs() as logs:
        failed, text, _ = await call(RuntimeError("secret"), "search", query="x")
    assert failed
    assert "secret" not in text
    assert [each["event"] for each in logs] == ["defect in a tool", "tool call"]


class Client:
    """Of which a job ends after some looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def ingest(self, **request: Any) -> dict[str, Any]:
        assert "wait" not in request
        return {"job_id": "j"}

    def job(self, job_id: str, *, receipts: bool) -> dict[str, Any]:
        assert (job_id, receipts) == ("j", True)
        self._looks -= 1
        return job("queued", "running") if self._looks else job("ready")


@pytest.mark.parametrize(("wait_seconds", "state"), [(60.0, "succeeded"), (0.0, "running")])
async def test_a_job_elsewhere_is_looked_at_until_it_ends_or_time_is_up(
    wait_seconds: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.mcp.backends.FIRST_PAUSE_SECONDS", 0.0)
    over_http = HttpBackend(Client(looks=4))  # type: ignore[arg-type]  # its likeness
    assert (await over_http.ingest({"documents": []}, wait_seconds))["state"] == state


def test_descriptions_hold_no_references_that_some_clients_do_not_resolve() -> None:
    for tool in Tools(Told(None)).described:
        assert "$ref" not in json.dumps(tool.input_schema)


@pytest.mark.parametrize(
    ("told", "tool", "arguments", "expected"),
    [
        ([], "list_collections", {}, ("list_collections", "ok")),
        (CollectionNotFound("There is none."), "search", {"query": "SECRET"}, ("search", "collection_not_found")),
        (NodeUnreachable("Gone."), "search", {"query": "SECRET"}, ("search", "unreachable")),
        ([], "search", {"query": " ", "SECRET": 1}, ("search", "empty_text")),
        (KeyError(), "search", {"query": "SECRET"}, ("search", "internal")),
        ([], "SECRET", {}, ("unknown", "tool_not_found")),
    ],
)
async def test_calls_are_logged_and_counted_without_what_they_say(
    told: Any, tool: str, arguments: dict[str, Any], expected: tuple[str, str]
) -> None:
    metrics = Metrics()
    with capture_logs() as logs:
        await Tools(Told(told), on_call=metrics.observe_tool).call(tool, arguments)
    call = logs[-1]
    assert (call["event"], call["tool"], call["outcome"]) == ("tool call", *expected)
    assert call["ms"] >= 0
    assert "SECRET" not in repr(logs)
    labels = dict(zip(("tool", "outcome"), expected, strict=True))
    assert metrics.registry.get_sample_value("tandem_mcp_calls_total", labels) == 1
    assert metrics.registry.get_sample_value("tandem_mcp_call_seconds_count", {"tool": expected[0]}) == 1


async def test_a_call_that_is_cancelled_is_logged() -> None:
    reached = asyncio.Event()

    class Waiting(Told):
        async def collections(self) -> list[Json]:
            reached.set()
            await asyncio.Event().wait()
            return []

    with capture_logs() as logs:
        calling = asyncio.create_task(Tools(Waiting(None)).call("list_collections", {}))
        await reached.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    assert [(each["event"], each["outcome"]) for each in logs] == [("tool call", "cancelled")]


async def test_a_search_keeps_to_languages_that_are_named() -> None:
    node = Told(answer(hit(language="zh")))
    result = await Tools(node).call("search", {"query": "x", "languages": ["zh", "en"]})
    assert node.asked[0]["languages"] == ["zh", "en"]
    assert result.structured_content is not None
    assert result.structured_content["passages"][0]["language"] == "zh"
    await Tools(node).call("search", {"query": "x", "languages": []})
    assert "languages" not in node.asked[1]
