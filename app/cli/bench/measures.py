"""Times at which requests are due, and statistics of their latencies and of receipts. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Literal

import numpy as np

Arrivals = Literal["poisson", "fixed"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of times in milliseconds; None if there are none."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        if not values:
            return cls(0, None, None, None, None)
        p50, p90, p99, most = (round(percentile(values, share), 3) for share in (0.5, 0.9, 0.99, 1.0))
        return cls(len(values), p50, p90, p99, most)

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Point:
    """What had been ingested at a point in time."""

    at: float
    """Seconds of the monotonic clock, which all processes of a machine share."""
    documents: int
    chunks: int
    tokens: int
    waiting: int
    """Documents sent and not finished."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What was ingested in a period, according to the receipts."""

    seconds: float
    texts_per_second: float
    tokens_per_second: float
    least_waiting: int | None
    """Lowest number of documents in the node's queue; None if nothing was reported in that time."""

    def to_json(self) -> dict[str, float | int | None]:
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the percentile of at least one value, interpolated linearly between the two nearest. `share` is in [0,
    1].
    """
    return float(np.quantile(np.asarray(values), share))


def arrivals(rate: float, seconds: float, *, kind: Arrivals, seed: int) -> list[float]:
    """Returns the seconds from the start at which requests are due, all below `seconds`: at random (`poisson`, with
    exponential pauses, as from many independent callers) or evenly (`fixed`).
    """
    if kind == "fixed":
        return [number / rate for number in range(int(np.ceil(seconds * rate)))]
    random = Random(seed)  # noqa: S311  # no secret
    due, found = random.expovariate(rate), []
    while due < seconds:
        found.append(due)
        due += random.expovariate(rate)
    return found


def ingested(points: Sequence[Point], start: float, end: float) -> Ingested:
    """Returns what was ingested between two times within the period that `points`, ordered by time, cover. Progress
    between two points is taken to be even; after the last one there is none.
    """
    first, last = _at(points, start), _at(points, end)
    inside = [point.waiting for point in points if start <= point.at <= end]
    seconds = end - start
    return Ingested(
        seconds=seconds,
        texts_per_second=(last["documents"] - first["documents"]) / seconds,
        tokens_per_second=(last["tokens"] - first["tokens"]) / seconds,
        least_waiting=min(inside, default=None),
    )


def rates(points: Sequence[Point], start: float, end: float, *, step: float = 1.0) -> list[tuple[float, float]]:
    """Returns documents per second in each whole `step` from `start`: the time at its middle, and the rate."""
    edges = [start + number * step for number in range(int((end - start) / step + 1e-9) + 1)]
    return [
        (edge - start + step / 2, (_at(points, edge + step)["documents"] - _at(points, edge)["documents"]) / step)
        for edge in edges[:-1]
    ]


def _at(points: Sequence[Point], moment: float) -> Mapping[str, float]:
    """Returns the documents and tokens finished by then."""
    place = bisect_right(points, moment, key=lambda point: point.at)
    if not points or place == 0:
        return {"documents": 0.0, "tokens": 0.0}
    before = points[place - 1]
    if place == len(points):
        return {"documents": float(before.documents), "tokens": float(before.tokens)}
    after = points[place]
    share = (moment - before.at) / (after.at - before.at)
    return {
        "documents": before.documents + share * (after.documents - before.documents),
        "tokens": before.tokens + share * (after.tokens - before.tokens),
    }
