"""Many clients send the same at once; and a disk that is full while documents come in."""

import asyncio
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from ingestion.blobs import health
from ingestion.blobs.folder import FolderBlobStore
from tests.support.faults.chaos import Figure
from tests.support.faults.small_disk import small_disk_or_skip
from tests.support.files.originals import files
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.ingesting import Sender, a_text, asked, check_everything, client_of, documents_of
from tests.support.nodes.listening import listening
from tests.support.nodes.node import real_but_for

CLIENTS = 8
A_REQUEST = 20
DISK_BYTES = 2 * 2**20


@pytest.mark.timeout(900)
async def test_the_same_documents_from_many_clients_are_stored_once(
    tmp_path: Path, long_form: bool, rng: Random, figure: Figure
) -> None:
    count = 1000 if long_form else 200
    sent = {f"document {number:04}": a_text(f"document {number}", 1 + number % 5) for number in range(count)}
    settings = Settings(data_dir=tmp_path, selftest_margin=False)  # type: ignore[arg-type]
    app = create_app(settings, real_but_for(FakeEmbedder(dimension=32), FakeReranker(), tmp_path))

    async def send_all(sender: Sender) -> None:
        names = rng.sample(sorted(sent), count)
        for first in range(0, count, A_REQUEST):
            await sender.send({name: sent[name] for name in names[first : first + A_REQUEST]})

    async with listening(app) as node, client_of(node.url) as http:
        senders = [Sender(http) for _ in range(CLIENTS)]
        started = monotonic()
        await asyncio.gather(*(send_all(sender) for sender in senders))
        for sender in senders:
            await sender.until_ended(seconds=300)
        took = monotonic() - started
        chunks = await check_everything(http, sent)
        documents = await documents_of(http)
    originals = [path for path in (tmp_path / "originals").rglob("*") if path.is_file()]
    assert len(originals) == len({document["sha256"] for document in documents}) == count
    figure(f"{CLIENTS} clients, {count} documents each, all the same", f"{count} stored, {chunks} chunks, {took:.1f} s")
    overtaken = sum(sender.superseded for sender in senders)
    figure("their receipts that the same document, sent again, overtook", f"{overtaken} of {CLIENTS * count}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk_or_skip(tmp_path / "small disk", DISK_BYTES) as disk:
        yield disk


async def test_a_full_disk_refuses_documents_and_stores_nothing_of_them(
    tmp_path: Path, small_disk: Path, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FAILURE_SECONDS", 0.5)
    data = tmp_path / "data"
    components = replace(
        real_but_for(FakeEmbedder(dimension=32), FakeReranker(), data),
        blobs=FolderBlobStore(small_disk / "originals"),
    )
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * (DISK_BYTES // 2))

    def a_large_text() -> str:
        return b64encode(rng.randbytes(150_000)).decode() + "\n"

    async def post(http: httpx.AsyncClient, names: list[str]) -> httpx.Response:
        documents = [{"id": name, "text": a_large_text()} for name in names]
        return await http.post("/ingest", json={"documents": documents, "chunking": {"max_tokens": 500}})

    settings = Settings(data_dir=data, selftest_margin=False)  # type: ignore[arg-type]
    async with listening(create_app(settings, components)) as node, client_of(node.url) as http:
        sender = Sender(http)
        accepted: list[str] = []
        number = 0
        while (answer := await post(http, [f"{number}a", f"{number}b"])).is_success:
            sender.jobs.append(answer.json()["job_id"])
            accepted += [f"{number}a", f"{number}b"]
            number += 1
        assert accepted
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_full")
        assert "Retry-After" in answer.headers
        await sender.until_ended(seconds=60)
        assert sorted(document["id"] for document in await documents_of(http)) == accepted
        whole = {document["sha256"] for document in await documents_of(http)}
        kept = files(small_disk / "originals")
        # Of a request that was refused, a whole original may stay until an audit clears it away; never half of one.
        assert whole <= kept
        assert len(kept - whole) <= 1
        assert not [name for name in kept if name.startswith(".")]

        filler.unlink()
        answer = await post(http, [f"{number}a", f"{number}b"])
        assert answer.status_code == 202
        sender.jobs.append(answer.json()["job_id"])
        await sender.until_ended(seconds=60)
        ready = {document["id"]: document["state"] for document in await documents_of(http)}
        assert ready == dict.fromkeys([*accepted, f"{number}a", f"{number}b"], "ready")
        assert (await asked(http, "POST", "/audit", json={}))["clean"]
