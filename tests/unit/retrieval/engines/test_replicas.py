from collections.abc import Sequence

import numpy as np

from retrieval.engines.replicas import Replicas
from retrieval.engines.vllm.options import EngineTask
from retrieval.types import Lane, TokenIds, Vector


class Replica:
    def __init__(self, number: int) -> None:
        self.number = number
        self.unfinished = 0
        self.restarts = number
        self.failure: str | None = None
        self.pids = (number,)
        self.events: list[str] = []
        self.tasks: list[EngineTask | None] = []

    async def start(self) -> None:
        self.events.append("start")

    async def close(self) -> None:
        self.events.append("close")

    async def encode(
        self,
        token_ids: Sequence[TokenIds],
        /,
        *,
        lane: Lane,
        dimensions: int | None = None,
        task: EngineTask | None = None,
    ) -> list[Vector]:
        self.tasks.append(task)
        return [np.array([self.number], dtype=np.float32) for _ in token_ids]


def pair() -> tuple[Replica, Replica, Replicas]:
    first, second = Replica(1), Replica(2)
    return first, second, Replicas([first, second])  # type: ignore[list-item]


async def asked(replicas: Replicas, lane: Lane = Lane.BULK) -> int:
    (output,) = await replicas.encode([[1, 2]], lane=lane)
    return int(output[0])


async def test_the_task_of_a_call_is_passed_on() -> None:
    first, _, replicas = pair()
    await replicas.encode([[1, 2]], lane=Lane.BULK)
    await replicas.encode([[1, 2]], lane=Lane.BULK, task="token_embed")
    assert first.tasks == [None, "token_embed"]


async def test_the_one_with_least_to_do_is_asked() -> None:
    first, second, replicas = pair()
    assert await asked(replicas) == 1
    first.unfinished = 3
    assert await asked(replicas) == 2
    second.unfinished = 4
    assert await asked(replicas) == 1
    assert replicas.unfinished == 7


async def test_one_that_is_away_is_not_asked() -> None:
    first, second, replicas = pair()
    first.failure, second.unfinished = "died", 100
    assert await asked(replicas) == 2
    assert replicas.failure is None
    second.failure = "died too"
    assert replicas.failure == "died"


async def test_they_are_one_engine() -> None:
    first, second, replicas = pair()
    await replicas.start()
    await replicas.close()
    assert first.events == second.events == ["start", "close"]
    assert (replicas.pids, replicas.restarts) == ((1, 2), 3)


async def test_queries_have_an_engine_of_their_own() -> None:
    sharing, query_engine = Replica(1), Replica(2)
    replicas = Replicas([sharing], query_engine)  # type: ignore[list-item,arg-type]
    sharing.unfinished = query_engine.unfinished = 5
    assert await asked(replicas, Lane.INTERACTIVE) == 2
    assert await asked(replicas, Lane.BULK) == 1
    assert (replicas.pids, replicas.unfinished) == ((1, 2), 10)


async def test_while_one_is_away_the_other_does_the_work_of_both() -> None:
    sharing, query_engine = Replica(1), Replica(2)
    replicas = Replicas([sharing], query_engine)  # type: ignore[list-item,arg-type]
    query_engine.failure = "died"
    assert (await asked(replicas, Lane.INTERACTIVE), await asked(replicas, Lane.BULK)) == (1, 1)
    query_engine.failure, sharing.failure = None, "died"
    assert (await asked(replicas, Lane.INTERACTIVE), await asked(replicas, Lane.BULK)) == (2, 2)
    assert replicas.failure is None
    query_engine.failure = "died too"
    assert (await asked(replicas, Lane.INTERACTIVE), await asked(replicas, Lane.BULK)) == (2, 1)
    assert replicas.failure == "died"
