"""kill -9 of a node or of its store, at moments that chance chooses, while documents come in."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import median
from time import monotonic

import pytest

from tests.support.faults.chaos import Figure
from tests.support.nodes.ingesting import Sender, a_text, check_everything, client_of, until_ready
from tests.support.nodes.killable_process import KillableProcess, killable_process
from tests.support.waiting import free_port

LEASE_S = 2
WHILE_STARTING = 0.15
"""Share of kills that come before the node is ready."""
OF_THE_STORE = 0.25
"""Share of kills that hit Milvus Lite's process; the node lives on."""


@pytest.mark.timeout(3600)
async def test_documents_survive_every_kill(
    tmp_path: Path, models: Mapping[str, str], long_form: bool, rng: Random, figure: Figure
) -> None:
    documents, kills = (500, 200) if long_form else (40, 4)
    names = [f"document {number:03}" for number in range(documents)]
    sent = {name: a_text(name, rng.choice((1, 3, 8, 20, 60))) for name in names}
    replaced = {name: a_text(f"new {name}", rng.choice((2, 9, 40))) for name in rng.sample(names, documents // 10)}
    replacements = _parts(list(replaced.items()), max(kills // 5, 1))
    portions = [dict(part) for part in _parts(list(sent.items()), kills)]
    port = free_port()
    settings = {
        **models,
        "TANDEM_DATA_DIR": str(tmp_path / "data"),
        "TANDEM_LEASE_SECONDS": str(LEASE_S),
        # A document that is being processed at each of five kills is not at fault.
        "TANDEM_MAX_ATTEMPTS": "100",
    }
    hit: Counter[str] = Counter()
    starts: list[float] = []
    with killable_process(["serve", "--port", str(port)], tmp_path / "node.log", settings) as node:
        async with client_of(f"http://127.0.0.1:{port}") as http:
            sender = Sender(http)
            sending = []
            started = monotonic()
            for number, portion in enumerate(portions):
                if rng.random() < WHILE_STARTING:
                    victim = "starting node"
                    sending.append(asyncio.create_task(sender.send(portion)))
                    await asyncio.sleep(rng.uniform(0, 3))
                else:
                    victim = "store" if rng.random() < OF_THE_STORE else "node"
                    await until_ready(http)
                    starts.append(monotonic() - started)
                    sending.append(asyncio.create_task(sender.send(portion)))
                    if number % 5 == 4:
                        sending.append(asyncio.create_task(sender.send(dict(replacements.pop()))))
                    await asyncio.sleep(rng.uniform(0, 1.2))
                await _kill(node, victim)
                hit[victim] += 1
                hit["with documents under a lease"] += bool(_leased(tmp_path / "data" / "catalog.sqlite"))
                started = monotonic()
                if not node.running():
                    node.start()
            await until_ready(http)
            await asyncio.gather(*sending)
            await sender.send(replaced)
            await sender.until_ended(seconds=120)
            chunks = await check_everything(http, sent | replaced)
        node.stop()
    figure("documents, chunks at the end", f"{documents}, {chunks}")
    figure("kills", ", ".join(f"{count} {name}" for name, count in hit.items()))
    figure("requests sent again for want of an answer", str(sender.unanswered))
    figure("node ready after a kill, median and most", f"{median(starts):.1f} s, {max(starts):.1f} s")


def _parts(items: list[tuple[str, str]], count: int) -> list[list[tuple[str, str]]]:
    return [items[first::count] for first in range(count)]


async def _kill(node: KillableProcess, victim: str) -> None:
    if victim == "store":
        child = node.store_child()
        if child is not None:
            child.kill()
            return
    node.kill()


def _leased(catalog: Path) -> int:
    """How many documents were in work."""
    if not catalog.exists():
        return 0
    with sqlite3.connect(catalog) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM documents WHERE lease_token IS NOT NULL").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # killed before its first migration
