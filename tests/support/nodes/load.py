"""Searches as many clients send them: as fast as answers come, or at a rate that does not wait for answers."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

import httpx

_NUMBERS = count()


def a_question(**fields: Any) -> Mapping[str, Any]:
    """Unlike any other, so that no cache knows its answer."""
    return {"query": f"Which paragraph tells of kiln {next(_NUMBERS)}?", **fields}


@dataclass
class Load:
    """What became of searches."""

    seconds: float = 0.0
    """For how long they were sent."""
    found: list[float] = field(default_factory=list)
    """Latency of each that was answered with hits, in seconds."""
    worth: float = 0.0
    """Of those, all together: one whose candidates were reranked in part is worth that part."""
    partial: int = 0
    """How many those in part were."""
    refused: Counter[str] = field(default_factory=Counter)
    """Every other answer, by status and code."""
    unanswered: list[float] = field(default_factory=list)
    """How long each has waited that was still under way when the time was over, in seconds."""
    slowest_refusal: float = 0.0
    without_retry_after: int = 0
    """Of the refusals with 429 and 503."""
    retry_after: list[int] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """What searches were answered a second; one that was reranked in part counts by that part."""
        return self.worth / self.seconds

    def percentile(self, share: float) -> float:
        """Of the latencies, in seconds."""
        return sorted(self.found)[min(int(len(self.found) * share), len(self.found) - 1)] if self.found else 0.0

    @property
    def slowest(self) -> float:
        """Longest time without an answer, in seconds."""
        return max([*self.found, *self.unanswered], default=0.0)

    def __str__(self) -> str:
        return (
            f"{self.goodput:.1f}/s, p50 {self.percentile(0.5):.2f} s, p99 {self.percentile(0.99):.2f} s, "
            f"slowest {self.slowest:.2f} s, partial {self.partial}, refused {dict(self.refused)}"
        )

    async def search(self, http: httpx.AsyncClient, **fields: Any) -> bool:
        """Sends one, and notes what became of it; returns whether it was answered with hits."""
        started = monotonic()
        try:
            answer = await http.post("/search", json=a_question(**fields))
        except httpx.HTTPError as error:
            self.refused[type(error).__name__] += 1
            return False
        except asyncio.CancelledError:
            self.unanswered.append(monotonic() - started)
            raise
        took = monotonic() - started
        if answer.status_code == 200 and (body := answer.json())["hits"]:
            self.found.append(took)
            rerank = body["rerank"]
            part = rerank["scored"] / rerank["candidates"] if rerank["candidates"] else 1.0
            self.worth += part
            self.partial += part < 1
            return True
        self.refused[_named(answer)] += 1
        self.slowest_refusal = max(self.slowest_refusal, took)
        if answer.status_code in (429, 503):
            wait = answer.headers.get("Retry-After", "")
            if wait.isdecimal() and int(wait) > 0:
                self.retry_after.append(int(wait))
            else:
                self.without_retry_after += 1
        return False


async def closed_loop(http: httpx.AsyncClient, *, clients: int, seconds: float, **fields: Any) -> Load:
    """`clients` that each send the next search when the last one is answered."""
    load = Load(seconds)
    end = monotonic() + seconds

    async def client() -> None:
        while monotonic() < end:
            if not await load.search(http, **fields):
                await asyncio.sleep(0.05)

    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(client() for _ in range(clients)))
    return load


async def open_loop(http: httpx.AsyncClient, *, rate: float, seconds: float, **fields: Any) -> tuple[Load, Load]:
    """Sends `rate` searches a second, whatever becomes of them. Returns what was answered while they were sent, and
    everything, when the last one is answered."""
    load = Load(seconds)
    started = monotonic()
    sent: list[asyncio.Task[bool]] = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - monotonic()))
        sent.append(asyncio.create_task(load.search(http, **fields)))
    during = Load(monotonic() - started, list(load.found), load.worth, load.partial, Counter(load.refused))
    await asyncio.gather(*sent)
    load.seconds = monotonic() - started
    return during, load


def _named(answer: httpx.Response) -> str:
    if answer.status_code == 200:
        return "200 without hits"
    with suppress(ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.json()['error']['code']}"
    return str(answer.status_code)
