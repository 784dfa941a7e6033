"""The bound on documents that wait, with many requests at once."""

import asyncio
from pathlib import Path

from tests.support.nodes.node import NodeUnderTest, running


async def post(node: NodeUnderTest, number: int, documents: int) -> int:
    texts = [{"id": f"{number}-{place}", "text": f"words {number} {place}"} for place in range(documents)]
    answer = await node.http.post("/ingest", json={"documents": texts}, headers={"Idempotency-Key": str(number)})
    if answer.status_code == 429:
        assert answer.json()["error"]["code"] == "overloaded"
        assert int(answer.headers["retry-after"]) > 0
    return answer.status_code


async def stored(node: NodeUnderTest, folder: Path) -> tuple[int, int]:
    """Documents in the catalog, and originals on the disk."""
    documents = await node.components.catalog.documents("docs", limit=1000)
    return len(documents), sum(path.is_file() for path in (folder / "originals").rglob("*"))


async def test_twenty_at_once_fill_the_queue_to_its_bound_and_no_further(tmp_path: Path) -> None:
    async with running(tmp_path, workers=0, max_queued=10) as node:
        answers = await asyncio.gather(*(post(node, number, 1) for number in range(20)))
        assert sorted(answers) == [202] * 10 + [429] * 10
        assert await stored(node, tmp_path) == (10, 10)
        assert await post(node, 99, 1) == 429
        assert await stored(node, tmp_path) == (10, 10)


async def test_a_request_is_taken_whole_or_not_at_all_and_room_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path, workers=0, max_queued=10) as node:
        answers = await asyncio.gather(*(post(node, number, 3) for number in range(20)))
        assert answers.count(202) == 3
        assert await stored(node, tmp_path) == (9, 9)
        assert await post(node, 98, 2) == 429
        assert await post(node, 99, 1) == 202
        job_id = (await node.http.post("/ingest", json={"documents": [{"text": "x"}]})).json().get("job_id")
        assert job_id is None
        taken = [number for number, status in enumerate(answers) if status == 202]
        for number in taken:
            await node.http.delete(f"/documents/{number}-0")
        assert await post(node, 98, 2) == 202
