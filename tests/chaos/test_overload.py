"""Three times as many searches as a node can answer."""

import asyncio
from time import monotonic

import pytest

from tests.support.faults.chaos import Figure
from tests.support.nodes.ingesting import a_text
from tests.support.nodes.load import closed_loop, open_loop
from tests.support.nodes.served_node import SEARCH_DEADLINE_S, ServedNodeUnderLoad

CLIENTS = 24
OVERLOAD = 3
LEAST_GOODPUT = {"long": 0.9, "short": 0.5}
"""Of the capacity. A few seconds on a machine that is busy with other things show no more."""
MODEL_S = 0.1
"""What the models take for a request: what the node can answer follows from it, not from this machine."""
MOST_GROWTH_MB = 100
MARGIN_S = 2
"""For a machine that is busy with other things."""


@pytest.mark.timeout(600)
async def test_overload_costs_those_who_are_too_many_and_nobody_else(
    outside: ServedNodeUnderLoad, long_form: bool, figure: Figure
) -> None:
    async with outside.client() as http:
        await outside.ingest(http, {name: a_text(name, 20) for name in (f"load {number}" for number in range(6))})
        outside.models.seconds = MODEL_S
        await overload(outside, "models that take 0.1 s", figure, long_form=long_form)
        outside.models.seconds = 0.0
        await outside.check(http)


@pytest.mark.timeout(600)
async def test_overload_of_real_models(minilm_node: ServedNodeUnderLoad, figure: Figure) -> None:
    async with minilm_node.client() as http:
        names = [f"load {number}" for number in range(6)]
        await minilm_node.ingest(http, {name: a_text(name, 20) for name in names})
        await overload(minilm_node, "minilm", figure, long_form=True)
        await minilm_node.check(http)


async def overload(node: ServedNodeUnderLoad, name: str, figure: Figure, *, long_form: bool) -> None:
    """Measures what `node` can do, then offers three times as much."""
    seconds = 60 if long_form else 2.5
    async with node.client(seconds=120) as http:
        await closed_loop(http, clients=CLIENTS, seconds=1)  # warm
        able = await closed_loop(http, clients=CLIENTS, seconds=seconds)
        before = node.megabytes()
        memory = [before]
        watching = asyncio.create_task(_watch(node, memory))
        started = monotonic()
        during, offered = await open_loop(http, rate=OVERLOAD * able.goodput, seconds=1.5 * seconds)
        drained = monotonic() - started - during.seconds
        watching.cancel()
        after = await closed_loop(http, clients=1, seconds=1)
    figure(f"{name}: {CLIENTS} clients in a closed loop", str(able))
    figure(f"{name}: {OVERLOAD} times that, offered", str(offered))
    figure(f"{name}: goodput meanwhile", f"{during.goodput:.1f}/s, {during.goodput / able.goodput:.2f} of capacity")
    figure(f"{name}: last answer after the last search was sent", f"{drained:.1f} s")
    if offered.retry_after:
        waits = f"{min(offered.retry_after)} to {max(offered.retry_after)} s"
        figure(f"{name}: slowest refusal, and its Retry-After", f"{offered.slowest_refusal:.2f} s, {waits}")
    figure(f"{name}: memory of the node", f"{before:.0f} MB, at most {max(memory) - before:+.0f} MB")
    assert during.goodput >= LEAST_GOODPUT["long" if long_form else "short"] * able.goodput
    assert offered.percentile(0.99) <= SEARCH_DEADLINE_S + MARGIN_S
    assert set(offered.refused) <= {"429 overloaded"}, offered
    # A few seconds of three times the load may all fit into one deadline.
    assert offered.refused["429 overloaded"] > 0 or not long_form
    assert offered.without_retry_after == 0
    assert max(memory) - before < MOST_GROWTH_MB
    assert not after.refused, after
    assert after.slowest < SEARCH_DEADLINE_S


async def _watch(node: ServedNodeUnderLoad, memory: list[float]) -> None:
    while True:
        memory.append(node.megabytes())
        await asyncio.sleep(0.2)
