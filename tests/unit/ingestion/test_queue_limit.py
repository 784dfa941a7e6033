import asyncio
import random

import pytest

from ingestion.errors import Overloaded
from ingestion.queue_limit import QueueLimit


class CountingCatalog:
    """Counts what was recorded. Between a question or a transaction and what comes of it any moment may pass."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.recorded = 0

    async def queue_depth(self) -> int:
        await self._a_while()
        depth = self.recorded
        await self._a_while()
        return depth

    async def record(self, documents: int) -> None:
        await self._a_while()
        self.recorded += documents
        await self._a_while()

    async def _a_while(self) -> None:
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)


async def post(queue: QueueLimit, catalog: CountingCatalog, documents: int) -> bool:
    try:
        async with queue.arriving(documents), queue.entering(documents):
            await catalog.record(documents)
    except Overloaded:
        return False
    return True


async def test_whoever_comes_first_fills_the_queue_exactly() -> None:
    for seed in range(200):
        catalog = CountingCatalog(seed)
        queue = QueueLimit(catalog, 10)  # type: ignore[arg-type]  # all that it asks the catalog
        taken = await asyncio.gather(*(post(queue, catalog, 1) for _ in range(20)))
        assert (sum(taken), catalog.recorded) == (10, 10), seed


async def test_the_bound_holds_for_requests_of_any_size() -> None:
    for seed in range(100):
        catalog = CountingCatalog(seed)
        queue = QueueLimit(catalog, 10)  # type: ignore[arg-type]
        sizes = random.Random(seed).choices(range(1, 6), k=20)
        taken = await asyncio.gather(*(post(queue, catalog, size) for size in sizes))
        admitted = sum(size for size, ok in zip(sizes, taken, strict=True) if ok)
        assert catalog.recorded == admitted <= 10, seed
        refused = [size for size, ok in zip(sizes, taken, strict=True) if not ok]
        assert catalog.recorded + min(refused, default=99) > 10, seed


async def test_places_come_free_where_the_request_fails() -> None:
    catalog = CountingCatalog(0)
    queue = QueueLimit(catalog, 2)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(KeyError):
            async with queue.arriving(2), queue.entering(2):
                raise KeyError
    assert await post(queue, catalog, 2)


async def test_those_that_arrive_keep_their_places_from_others() -> None:
    catalog = CountingCatalog(0)
    queue = QueueLimit(catalog, 3)  # type: ignore[arg-type]
    async with queue.arriving(2):
        with pytest.raises(Overloaded, match="2 documents wait") as refused:
            async with queue.arriving(2):
                pass
        assert refused.value.detail["retry_after_s"]
        assert await post(queue, catalog, 1)
