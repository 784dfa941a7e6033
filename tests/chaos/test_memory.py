"""Memory while a great many chunks pass through a node."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from tests.support.faults.chaos import Figure
from tests.support.nodes.ingesting import Sender, a_text, asked, client_of, until_ready
from tests.support.nodes.killable_process import KillableProcess, killable_process
from tests.support.waiting import free_port

MOST_GROWTH_MB = 200


@pytest.mark.timeout(1800)
async def test_memory_of_the_node_stays_flat(
    tmp_path: Path, models: Mapping[str, str], long_form: bool, figure: Figure
) -> None:
    wanted = 20_000 if long_form else 2_000
    port = free_port()
    settings = {**models, "TANDEM_DATA_DIR": str(tmp_path / "data")}
    with killable_process(["serve", "--port", str(port)], tmp_path / "node.log", settings) as node:
        async with client_of(f"http://127.0.0.1:{port}") as http:
            await until_ready(http)
            sender = Sender(http)
            await sender.send({"first": a_text("first", 100)})
            await sender.until_ended(seconds=60)
            store = node.store_child()
            assert store is not None
            before, store_before = megabytes(psutil.Process(node.pid)), megabytes(store)
            seen = [before]
            watching = asyncio.create_task(watch(node, seen))
            # Half of it one document, the rest in documents of every size.
            await sender.send({"half": a_text("half", wanted // 2)})
            for number in range(wanted // 2 // 100):
                await sender.send({f"document {number}": a_text(f"document {number}", 100)})
            await sender.until_ended(seconds=1500)
            watching.cancel()
            chunks = (await asked(http, "GET", "/collections/docs"))["chunks"]
            store_after = megabytes(store)
    assert chunks >= wanted
    growth = max(seen) - before
    figure(f"memory of the node while {chunks} chunks pass through", f"{before:.0f} MB, at most {growth:+.0f} MB")
    figure("memory of Milvus Lite's process, before and after", f"{store_before:.0f} MB, {store_after:.0f} MB")
    assert growth <= MOST_GROWTH_MB


def megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


async def watch(node: KillableProcess, seen: list[float]) -> None:
    process = psutil.Process(node.pid)
    while True:
        seen.append(megabytes(process))
        await asyncio.sleep(0.1)
