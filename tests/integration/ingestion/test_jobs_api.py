"""Jobs through HTTP, with documents that wait: nothing takes them from the queue but what the tests do."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.nodes.node import NodeUnderTest, running

MANY = 10_000


@pytest.fixture(scope="module")
async def idle(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeUnderTest]:
    async with running(tmp_path_factory.mktemp("idle"), workers=0, max_documents=MANY) as node:
        yield node


async def accept(node: NodeUnderTest, documents: int) -> dict[str, object]:
    texts = [{"id": f"{uuid4().hex}-{number}", "text": f"words {uuid4().hex}"} for number in range(documents)]
    answer = await node.http.post("/ingest", json={"documents": texts})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def test_a_cancelled_job_ends_and_says_so(idle: NodeUnderTest) -> None:
    accepted = await accept(idle, 3)
    answer = await idle.http.post(f"/jobs/{accepted['job_id']}/cancel")
    job = answer.json()
    assert (answer.status_code, job["state"]) == (200, "cancelled")
    assert job["progress"] == {"documents": 3, "done": 3, "failed": 3, "chunks": 0, "tokens": 0}
    assert [each["status"] for each in job["documents"]] == ["failed"] * 3
    assert {each["error"]["code"] for each in job["documents"]} == {"cancelled"}
    assert (await idle.http.get(f"/jobs/{accepted['job_id']}")).json() == job
    assert (await idle.http.post(f"/jobs/{accepted['job_id']}/cancel")).json() == job


async def test_an_unknown_job_cannot_be_cancelled(idle: NodeUnderTest) -> None:
    answer = await idle.http.post("/jobs/none/cancel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")


async def test_a_job_that_has_ended_stays_as_it_is(node: NodeUnderTest) -> None:
    job = await node.ingest({"id": uuid4().hex, "text": "Slip is clay and water."})
    cancelled = (await node.http.post(f"/jobs/{job['job_id']}/cancel")).json()
    assert cancelled == job
    assert job["state"] == "succeeded"


async def test_a_cancelled_replacement_leaves_what_search_finds(tmp_path: Path) -> None:
    document_id = uuid4().hex
    async with running(tmp_path) as node:
        await node.ingest({"id": document_id, "text": "Engobe is coloured slip."})
    async with running(tmp_path, workers=0) as node:
        answer = await node.http.post("/ingest", json={"documents": [{"id": document_id, "text": "Something else."}]})
        await node.http.post(f"/jobs/{answer.json()['job_id']}/cancel")
        assert (await node.search("Engobe is coloured slip"))["hits"][0]["document_id"] == document_id


async def test_ten_thousand_receipts_come_in_pages(idle: NodeUnderTest) -> None:
    accepted = await accept(idle, MANY)
    ids = [each["id"] for each in accepted["documents"]]  # type: ignore[attr-defined]
    assert len(set(ids)) == MANY
    told: list[str] = []
    cursor, pages = "0", 0
    while cursor:
        page = (await idle.http.get(f"/jobs/{accepted['job_id']}", params={"cursor": cursor})).json()
        told += [receipt["id"] for receipt in page["documents"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (told, pages) == (ids, 10)
    job = (await idle.http.post(f"/jobs/{accepted['job_id']}/cancel")).json()
    assert (job["state"], job["progress"]["failed"], len(job["documents"])) == ("cancelled", MANY, 1000)
