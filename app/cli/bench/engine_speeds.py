"""Measures how fast engines compute prompts of random token ids: the same calls for ours and for bare ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter

import numpy as np

from app.cli.bench.measures import Arrivals, Summary, arrivals
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import TokenIds

SHARED_TOKENS = 110
"""Tokens that the prompts of one rerank share: instruction and query, as in Qwen3-Reranker's prompt."""
POOL = 16
"""Batches of texts, in turn: made beforehand, so that making them takes nothing from the engine's time."""

Encode = Callable[[Sequence[TokenIds]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class EngineLoad:
    lengths: tuple[int, ...]
    """Tokens of the embedded texts; the last length is also used while searches run."""
    pools: tuple[int, ...]
    """Candidates of a rerank."""
    candidates: int
    """Candidates of a search's rerank."""
    tokens: int
    """Tokens of a candidate."""
    rate: float
    seconds: float
    warm_up: float
    arrivals: Arrivals
    repeats: int
    """Reranks of each size."""


@dataclass(frozen=True, slots=True)
class Embedded:
    tokens: int
    texts_per_second: float

    @property
    def tokens_per_second(self) -> float:
        return self.texts_per_second * self.tokens


@dataclass(frozen=True, slots=True)
class Reranked:
    candidates: int
    times: Summary


@dataclass(frozen=True, slots=True)
class Speeds:
    """The speeds of one kind of engine without other work."""

    embedded: tuple[Embedded, ...]
    reranked: tuple[Reranked, ...]


class Prompts:
    """Random token ids: no two prompts are equal, so that no cache answers."""

    def __init__(self, vocabulary: int, window: int) -> None:
        self._random = np.random.default_rng()
        self._vocabulary = vocabulary
        self._window = window

    def text(self, tokens: int) -> TokenIds:
        ids: TokenIds = self._random.integers(self._vocabulary, size=min(tokens, self._window - 1)).tolist()
        return ids

    def batches(self, tokens: int, slice_tokens: int) -> Sequence[Sequence[TokenIds]]:
        """Returns batches, each as large as the gate admits at once."""
        return [[self.text(tokens) for _ in range(max(1, slice_tokens // tokens))] for _ in range(POOL)]

    def reranked(self, candidates: int, tokens: int) -> Sequence[TokenIds]:
        head = self.text(min(SHARED_TOKENS, self._window // 2))
        return [[*head, *self.text(tokens)][: self._window - 1] for _ in range(candidates)]


async def embed_rate(
    embed: Encode, prompts: Prompts, tokens: int, load: EngineLoad, slice_tokens: int, ahead: int
) -> Embedded:
    """Embeds texts of one length, `ahead` calls at a time."""
    async with fed(embed, prompts.batches(tokens, slice_tokens), ahead) as embedded:
        await asyncio.sleep(load.warm_up)
        start, before = perf_counter(), embedded()
        await asyncio.sleep(load.seconds)
        rate = (embedded() - before) / (perf_counter() - start)
    return Embedded(tokens, rate)


async def rerank_times(rerank: Encode, prompts: Prompts, candidates: int, load: EngineLoad) -> Reranked:
    """Reranks one call after the other; the first two do not count."""
    times = []
    for _ in range(load.repeats + 2):
        prompt_ids = prompts.reranked(candidates, load.tokens)
        started = perf_counter()
        await rerank(prompt_ids)
        times.append(1000 * (perf_counter() - started))
    return Reranked(candidates, Summary.of(times[2:]))


async def search_times(
    search: Callable[[], Awaitable[None]], load: EngineLoad, on_measured: Callable[[], None] = lambda: None
) -> Summary:
    """Sends searches in an open loop, and measures each from the time when it was due. `on_measured` is called when the
    warm-up is over.
    """
    start = perf_counter()

    async def one(due: float) -> float:
        await asyncio.sleep(start + due - perf_counter())
        await search()
        return 1000 * (perf_counter() - start - due)

    async def report() -> float:
        await asyncio.sleep(load.warm_up)
        on_measured()
        return 0.0

    due = arrivals(load.rate, load.warm_up + load.seconds, kind=load.arrivals, seed=0)
    times = await gather_or_cancel([report(), *map(one, due)])
    return Summary.of([took for at, took in zip(due, times[1:], strict=True) if at >= load.warm_up])


@asynccontextmanager
async def fed(embed: Encode, batches: Sequence[Sequence[TokenIds]], ahead: int) -> AsyncIterator[Callable[[], int]]:
    """Keeps an engine supplied with the batches, `ahead` calls at a time; yields a function that returns the number of
    embedded texts.
    """
    stop, done = asyncio.Event(), 0

    async def feed() -> None:
        nonlocal done
        for batch in cycle(batches):
            if stop.is_set():
                return
            await embed(batch)
            done += len(batch)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(ahead):
                group.create_task(feed())
            yield lambda: done
            stop.set()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
