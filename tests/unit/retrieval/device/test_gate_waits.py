"""How long each lane of the gate is held up by the other, as it is counted."""

import asyncio

import pytest

from retrieval.device.durations import BOUNDS, Durations
from retrieval.device.gate import Gate, GateOptions
from tests.support.simulated import simulate


def test_durations_are_counted_up_to_each_bound() -> None:
    durations = Durations()
    for seconds in (0.0, BOUNDS[0], 0.3, 1000.0):
        durations.add(seconds)
    counts = durations.counts()
    assert dict(zip(BOUNDS, counts.at_most, strict=False))[BOUNDS[0]] == 2
    assert dict(zip(BOUNDS, counts.at_most, strict=False))[0.5] == 3
    assert counts.at_most[-2:] == (3, 4)
    assert counts.seconds == pytest.approx(BOUNDS[0] + 1000.3)


def test_a_search_counts_the_time_in_which_ingestion_computes_beside_it() -> None:
    async def run() -> None:
        gate = Gate(GateOptions(slice_tokens=100, bulk_share=0.0))
        with gate.interactive():
            await asyncio.sleep(3)
        assert gate.state().interactive_shared.seconds == 0
        turn = await gate.turn([50])
        await asyncio.sleep(1)
        with gate.interactive():
            await asyncio.sleep(2)
            gate.end(turn, measured=True)
            await asyncio.sleep(4)
        shared = gate.state().interactive_shared
        assert (shared.seconds, shared.at_most[-1]) == (2, 2)

    simulate(run())


def test_ingestion_counts_the_wait_of_each_slice() -> None:
    async def run() -> None:
        gate = Gate(GateOptions(slice_tokens=100, bulk_share=0.0))
        (await gate.turn([50])).end(measured=True)
        assert gate.state().bulk_waits.seconds == 0
        with gate.interactive():
            waiting = asyncio.create_task(gate.turn([50]))
            await asyncio.sleep(3)
            assert not waiting.done()
        (await waiting).end(measured=True)
        waits = gate.state().bulk_waits
        assert (waits.seconds, waits.at_most[-1]) == (3, 2)

    simulate(run())
