"""Decides whether models fit a device, and with which limits and shares of its memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from retrieval.device.engine_memory import EngineDemand, EnginePlan, Limits, plan_engine

Verdict = Literal["fits", "fits_with_limits", "does_not_fit"]

RESERVE = 0.02
"""Part of the device that nothing is planned for: the allocator's rounding and fragments."""
MIN_WINDOW = 1024
"""Smallest window to plan unless the settings ask for less: a passage of the default length, a query and the prompts
around them."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of one accelerator, as programs see it."""

    total_bytes: int
    used_bytes: int = 0
    """Bytes used by other programs."""
    name: str = ""
    count: int = 1
    """Number of such devices, this one included, that engines may use."""

    @property
    def kind(self) -> str:
        """Its name without the number that the name of an NPU begins with."""
        return self.name.rpartition(", ")[2]

    @property
    def usable_bytes(self) -> int:
        return max(0, int(self.total_bytes * (1 - RESERVE)) - self.used_bytes)


@dataclass(frozen=True, slots=True)
class Plan:
    device: DeviceMemory
    tensor_parallel: int
    verdict: Verdict
    limits: tuple[str, ...]
    """Sentences that say which limits are lower than requested."""
    engines: tuple[EnginePlan, ...]
    """Engines in the order of the demands. When they do not fit: each with the least that it can do with."""
    shared: bool = True
    """Whether one device holds all of them; else embedders and the reranker have devices of their own."""

    @property
    def fits(self) -> bool:
        return self.verdict != "does_not_fit"

    def combined_with(self, other: "Plan") -> "Plan":
        """Returns one plan of both, whose engines are on different devices of the same kind."""
        verdicts: tuple[Verdict, ...] = ("fits", "fits_with_limits", "does_not_fit")
        worse = max(self, other, key=lambda each: verdicts.index(each.verdict))
        limits = (*self.limits, *other.limits)
        return replace(worse, limits=limits, engines=(*self.engines, *other.engines), shared=False)

    @property
    def devices_missing(self) -> bool:
        return self.tensor_parallel > self.device.count

    @property
    def needed_bytes(self) -> int:
        if self.shared:
            return sum(engine.total_bytes for engine in self.engines)
        reranking = self.engines[-1].total_bytes
        return max(reranking, sum(engine.total_bytes for engine in self.engines[:-1]))

    @property
    def message(self) -> str:
        needed, total = gigabytes(self.needed_bytes), gigabytes(self.device.total_bytes)
        if self.verdict == "fits":
            return f"Fits: {needed} of {total} GB."
        if self.verdict == "fits_with_limits":
            return f"Fits with these limits: {'; '.join(self.limits)}. {needed} of {total} GB."
        if self.devices_missing:
            return (
                f"Does not fit: each model is to be split over {self.tensor_parallel} devices "
                f"(TANDEM_TENSOR_PARALLEL), and this process may use {self.device.count}."
            )
        if small := [engine for engine in self.engines if not engine.fits_share]:
            shares = (
                f"the {each.role}'s share {each.share:g} is {gigabytes(each.share * self.device.total_bytes)} GB, "
                f"and it needs {gigabytes(each.share_bytes)} GB"
                for each in small
            )
            return f"Does not fit: {'; '.join(shares)} at the least."
        usable = gigabytes(self.device.usable_bytes)
        return f"Does not fit: {needed} GB are needed at the least, and {usable} of {total} GB can be used."


def plan(
    demands: Sequence[EngineDemand],
    device: DeviceMemory,
    *,
    step_tokens: int,
    window_is_fixed: bool = False,
    tensor_parallel: int = 1,
) -> Plan:
    """Returns the plan of the first limits that fit the device. Limits tighten step by step: first smaller steps, then
    a smaller cache, then shorter windows unless they are fixed. No plan fits if there are fewer devices than each model
    is split over.

    `step_tokens` is the wanted size of one step (`max_num_batched_tokens`). It is raised to the window, since no input
    is computed in pieces. Under tensor parallelism all devices are identical and each holds its part. Raises
    ConfigurationError if a model cannot be split over that many devices.
    """
    row = [
        tuple(plan_engine(demand, limits, device.total_bytes, tensor_parallel) for demand in demands)
        for limits in _tightening(max(demand.window for demand in demands), step_tokens, window_is_fixed)
    ]
    for engines in row if tensor_parallel <= device.count else ():
        if all(engine.fits_share for engine in engines) and _taken(engines, device) <= device.usable_bytes:
            lost = tuple(_lost(row[0], engines))
            return Plan(device, tensor_parallel, "fits_with_limits" if lost else "fits", lost, engines)
    return Plan(device, tensor_parallel, "does_not_fit", (), row[-1])


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f}"


def _taken(engines: Sequence[EnginePlan], device: DeviceMemory) -> int:
    """Returns the bytes that the engines take; a prescribed share counts as a whole."""
    return sum(
        max(engine.total_bytes, round(engine.share * device.total_bytes) + engine.context_bytes) for engine in engines
    )


def _tightening(window: int, step_tokens: int, window_is_fixed: bool) -> Iterator[Limits]:
    """Yields limits. Each is as tight as the one before or tighter, in every figure."""
    step = max(step_tokens, window)
    least = max(window, min(step, MIN_WINDOW))
    yield Limits(window, step, roomy=True)
    while step > least:
        step = max(step // 2, least)
        yield Limits(window, step, roomy=True)
    yield Limits(window, step, roomy=False)
    while not window_is_fixed and window // 2 >= MIN_WINDOW:
        window //= 2
        yield Limits(window, window, roomy=True)
        yield Limits(window, window, roomy=False)


def _lost(wanted: Sequence[EnginePlan], found: Sequence[EnginePlan]) -> Iterator[str]:
    """Yields each kind of limit once, with the figures of the first engine that it concerns."""
    figures: tuple[tuple[str, Callable[[EnginePlan], int]], ...] = (
        ("a window", lambda engine: engine.max_model_len),
        ("steps", lambda engine: engine.max_num_batched_tokens),
        ("a cache", lambda engine: engine.cached_tokens),
    )
    for name, figure in figures:
        for before, after in zip(wanted, found, strict=True):
            if figure(after) < figure(before):
                yield f"{name} of {figure(after):,} tokens instead of {figure(before):,}"
                break
