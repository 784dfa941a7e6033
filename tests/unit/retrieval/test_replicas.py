from collections.abc import Sequence

import numpy as np

from retrieval.engines.replicas import Replicas
from retrieval.types import Lane, TokenIds, Vector


class Replica:
    def __init__(self, number: int) -> None:
        self.number = number
        self.unfinished = 0
        self.restarts = number
        self.failure: str | None = None
        self.pids = (number,)
        self.events: list[str] = []

    async def start(self) -> None:
        self.events.append("start")

    async def close(self) -> None:
        self.events.append("close")

    async def encode(
        self, token_ids: Sequence[TokenIds], /, *, lane: Lane, dimensions: int | None = None
    ) -> list[Vector]:
        return [np.array([self.number], dtype=np.float32) for _ in token_ids]


def pair() -> tuple[Replica, Replica, Replicas]:
    first, second = Replica(1), Replica(2)
    return first, second, Replicas([first, second])  # type: ignore[list-item]


async def asked(replicas: Replicas) -> int:
    (output,) = await replicas.encode([[1, 2]], lane=Lane.BULK)
    return int(output[0])


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
