"""`tandem worker` processes that are killed, or fall asleep over their leases."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic

import psycopg
import pytest

from tests.support.faults.chaos import Figure
from tests.support.nodes.cluster import Cluster, cluster, name_of
from tests.support.nodes.ingesting import Sender, a_text, check_everything
from tests.support.stores.stores import ServerProcess

LEASE_S = 3.0
MARGIN_S = 4.0
"""Beyond the lease, until others have taken over: they ask for work once a second, and when their own batch is done."""
SETTINGS = {"TANDEM_LEASE_SECONDS": f"{LEASE_S:g}", "TANDEM_WORKERS": "1", "TANDEM_WORKER_BATCH": "4"}

ClusterOf = Callable[..., AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def cluster_of(tmp_path: Path, postgres_url: str, milvus_server: ServerProcess, minilm_folder: Path) -> ClusterOf:
    """Given the workers' number and the vectors' dimension."""
    return partial(cluster, tmp_path, database=postgres_url, milvus=milvus_server.uri, minilm=minilm_folder, **SETTINGS)


def documents(count: int, paragraphs: int = 3, generation: str = "") -> dict[str, str]:
    return {f"document {number:03}": a_text(f"{generation}{number}", paragraphs) for number in range(count)}


def receipts_of(database: str) -> Counter[tuple[str, str]]:
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT document_id, status FROM receipts WHERE document_id LIKE 'document %'")
        return Counter((str(document), str(status)) for document, status in rows)


@pytest.mark.timeout(300)
async def test_the_work_of_a_killed_worker_is_taken_over_within_its_lease(
    cluster_of: ClusterOf, postgres_url: str, figure: Figure
) -> None:
    async with cluster_of(workers=3, dimension=43) as found:
        await found.until_working()
        found.embedder.seconds = 0.5
        sent = documents(36)
        sender = Sender(found.http)
        job = await sender.send(sent)
        victim = found.workers[1]
        orphans, dead = await found.leased_by(victim), name_of(victim)
        victim.kill()
        killed = monotonic()
        async with asyncio.timeout(60):
            while any(found.leased().get(document) == dead for document in orphans):
                await asyncio.sleep(0.05)
        took = monotonic() - killed
        await sender.until_ended(seconds=60)
        assert (await sender.job(job))["state"] == "succeeded"
        await check_everything(found.http, sent)
        # Each ended once, and nobody counted the dead one's work.
        assert receipts_of(postgres_url) == Counter({(name, "ready"): 1 for name in sent})
    figure(f"work of a killed worker taken over, lease of {LEASE_S:g} s", f"{took:.1f} s ({len(orphans)} documents)")
    assert took <= LEASE_S + MARGIN_S


@pytest.mark.timeout(300)
@pytest.mark.parametrize("meanwhile", ["nothing", "a newer version"])
async def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(
    cluster_of: ClusterOf, postgres_url: str, meanwhile: str
) -> None:
    async with cluster_of(workers=2, dimension=44) as found:
        await found.until_working()
        found.embedder.seconds = 0.5
        sent = documents(24)
        sender = Sender(found.http)
        await sender.send(sent)
        sleeper = found.workers[0]
        in_work = await found.leased_by(sleeper)
        sleeper.pause()
        await sender.until_ended(seconds=60)
        if meanwhile == "a newer version":
            newer = documents(24, paragraphs=2, generation="newer ")
            sent |= {name: newer[name] for name in in_work}
            await sender.send({name: newer[name] for name in in_work})
            await sender.until_ended(seconds=60)
        before = told(found)
        sleeper.resume()
        # It finds its leases lost in the middle of its work, and ends in good order once that is over.
        await asyncio.sleep(2)
        sleeper.stop()
        await until_settled(found, sent)
        await check_everything(found.http, sent)
        if meanwhile == "nothing":
            assert told(found) == before
        assert sum(receipts_of(postgres_url).values()) == len(sent) + (len(in_work) if meanwhile != "nothing" else 0)


def told(found: Cluster) -> list[tuple[object, ...]]:
    """What the catalog says became of each document."""
    with psycopg.connect(found.database) as connection:
        return list(
            connection.execute(
                "SELECT id, version, state, chunks, searchable_at, chunk_digest FROM documents ORDER BY id"
            )
        )


async def until_settled(found: Cluster, sent: dict[str, str]) -> None:
    """Documents that the sleeper wrote to after its time may be done once more."""
    async with asyncio.timeout(60):
        while any(state != "ready" for _, _, state, *_ in told(found)):
            await asyncio.sleep(0.1)


@pytest.mark.timeout(3000)
async def test_documents_survive_every_kill_of_a_worker(
    cluster_of: ClusterOf, postgres_url: str, long_form: bool, rng: Random, figure: Figure
) -> None:
    count, kills = (200, 50) if long_form else (40, 4)
    async with cluster_of(workers=3, dimension=45) as found:
        await found.until_working()
        found.embedder.seconds = 0.2
        names = list(documents(count))
        sent = {name: a_text(name, rng.choice((1, 4, 12, 40))) for name in names}
        sender = Sender(found.http)
        in_work = 0
        for number in range(kills):
            await sender.send({name: sent[name] for name in names[number::kills]})
            await asyncio.sleep(rng.uniform(0, 1.5))
            victim = rng.choice(found.workers)
            name = name_of(victim)
            in_work += name in found.leased().values()
            victim.kill()
            victim.start()
        await sender.until_ended(seconds=300)
        await found.until_started()
        chunks = await check_everything(found.http, sent)
        assert receipts_of(postgres_url) == Counter({(name, "ready"): 1 for name in sent})
    figure(
        "kills of workers, and how many had documents in work",
        f"{kills}, {in_work} ({count} documents, {chunks} chunks)",
    )
