"""Searches in an open loop: each is sent when it is due, however many earlier ones are in flight, and its latency
counts from that time. A closed loop would send fewer searches when the node is slow, and so make it look faster.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import httpx

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.measures import Arrivals, Summary

STAGES = ("embed", "recall", "rerank", "total")
PARTS = (*STAGES[:-1], "else in the node", "outside of it")
"""The last holds the measuring process's own delay."""
TIMEOUT_SECONDS = 120.0
LEAD_SECONDS = 0.2
"""Time between the call and the first arrival's reference time."""


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    """Searches a second."""
    seconds: float
    """Seconds that count."""
    warm_up: float
    """Seconds before them that do not."""
    arrivals: Arrivals
    candidates: int
    top_k: int


@dataclass(frozen=True, slots=True)
class Question:
    """The options of every search."""

    collection: str
    candidates: int
    top_k: int

    def body(self, query: str) -> dict[str, Any]:
        return {
            "query": query,
            "collection": self.collection,
            "top_k": self.top_k,
            "candidates": self.candidates,
            "rerank": "required",
        }


@dataclass(frozen=True, slots=True)
class Sample:
    due: float
    """Seconds from the start of the measured period; below 0 in the warm-up."""
    sent_late_ms: float
    """Time between `due` and the sending: the measuring process's own delay, which `ms` includes."""
    ms: float
    """Time from `due` until the answer was read."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds of the stages as the node reported them."""
    error: str | None = None

    @property
    def parts(self) -> Mapping[str, float]:
        """The parts of the answer's `ms`, by PARTS."""
        *stages, total = (self.stages[name] for name in STAGES)
        return dict(zip(PARTS, (*stages, total - sum(stages), self.ms - total), strict=True))

    def to_json(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if value not in (None, {})}


@dataclass(frozen=True, slots=True)
class Searched:
    """The searches of one stretch of time, the warm-up left out."""

    started: float
    """Start on the monotonic clock."""
    seconds: float
    samples: tuple[Sample, ...]

    @property
    def answered(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.error is None]

    @property
    def times(self) -> list[float]:
        return [sample.ms for sample in self.answered]

    @property
    def errors(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for sample in self.samples:
            if sample.error is not None:
                found[sample.error] = found.get(sample.error, 0) + 1
        return found

    def stage(self, name: str) -> Summary:
        return Summary.of([sample.stages[name] for sample in self.samples if name in sample.stages])

    def to_json(self) -> dict[str, object]:
        return {
            "searches": len(self.samples),
            "errors": self.errors,
            "latency_ms": Summary.of(self.times).to_json(),
            "stages_ms": {name: self.stage(name).to_json() for name in STAGES},
            "sent_late_ms": Summary.of([sample.sent_late_ms for sample in self.samples]).to_json(),
            "samples": [sample.to_json() for sample in self.samples],
        }


async def search_open_loop(
    url: str,
    api_key: str | None,
    question: Question,
    corpus: Corpus,
    *,
    first: int,
    due: Sequence[float],
    warm_up: float,
    seconds: float,
) -> Searched:
    """Sends the queries number `first`, `first` + 1 … of the corpus at the times `due`, in seconds from now. Returns
    when all have been answered. Those due in the first `warm_up` seconds are not counted; `seconds` follow.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, limits=limits) as http,
        asyncio.TaskGroup() as group,
    ):
        start = monotonic() + LEAD_SECONDS
        tasks = []
        for number, moment in enumerate(due, start=first):
            body = question.body(corpus.query(number))
            await asyncio.sleep(start + moment - monotonic())
            tasks.append(group.create_task(_ask(http, body, start + moment, start + warm_up)))
        await asyncio.sleep(start + warm_up + seconds - monotonic())
    samples = tuple(sample for task in tasks if (sample := task.result()).due >= 0)
    return Searched(start + warm_up, seconds, samples)


async def _ask(http: httpx.AsyncClient, body: Mapping[str, object], due: float, measured_from: float) -> Sample:
    sent = monotonic()
    stages: Mapping[str, float] = {}
    try:
        response = await http.post("/search", json=body)
        answer = response.json()
        error = _error(response.status_code, answer, body)
        stages = answer["timings_ms"] if error is None else {}
    except (httpx.HTTPError, ValueError) as problem:
        error = type(problem).__name__
    ms = (monotonic() - due) * 1000
    return Sample(round(due - measured_from, 4), round((sent - due) * 1000, 3), round(ms, 3), stages, error)


def _error(status: int, answer: Any, body: Mapping[str, object]) -> str | None:
    """Returns the node's error code; an answer in which not all candidates were reranked counts as an error, too."""
    if status != 200:
        return f"{status} {answer['error']['code']}"
    scored = answer["rerank"]["scored"]
    if answer["rerank"]["applied"] is not True or scored != body["candidates"]:
        return f"{scored} of {body['candidates']} candidates reranked"
    return None
