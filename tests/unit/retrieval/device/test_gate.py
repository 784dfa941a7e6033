"""The gate on a simulated clock: what searches and ingestion get of one device."""

import asyncio
from collections.abc import Sequence
from itertools import cycle
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.device.gate import Gate, GateOptions
from retrieval.device.gated import encode_gated
from retrieval.errors import ConfigurationError, EngineFailed
from retrieval.types import Lane, TokenIds, Vector
from tests.support.simulated import Deadlock, SimulatedDevice, simulate

RATE = 400_000
"""Tokens a second, as a small model on a large GPU."""
SEARCH_TOKENS = 16_000
TEXT = 250
EVERY_S = 0.2
"""Between two searches."""


class Engine:
    """Answers each prompt with its length; a prompt of the length `broken` fails its call.

    Two engines, one for each lane: each prepares a call, which takes the processor `step_s`, while it computes the one
    before, and both share the device.
    """

    def __init__(self, device: SimulatedDevice, gate: Gate, broken: int = -1, *, step_s: float = 0.0) -> None:
        self._device = device
        self._gate = gate
        self._step_s = step_s
        self._preparing, self._computing = ({lane: asyncio.Lock() for lane in Lane} for _ in range(2))
        self._broken = broken
        self.slices: list[int] = []
        """Tokens of each call."""
        self.most_in_flight = 0

    async def encode(self, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None) -> list[Vector]:
        tokens = sum(len(ids) for ids in token_ids)
        if lane is Lane.BULK:
            self.slices.append(tokens)
            self.most_in_flight = max(self.most_in_flight, self._gate.state().bulk_tokens)
        async with self._preparing[lane]:
            await asyncio.sleep(self._step_s)
        async with self._computing[lane]:
            await self._device.compute(tokens)
        if any(len(ids) == self._broken for ids in token_ids):
            raise EngineFailed("broken")
        return [np.array([len(ids)], dtype=np.float32) for ids in token_ids]


class Site:
    """A device, its gate, and an engine that both lanes use."""

    def __init__(self, options: GateOptions | None = None, *, rate: float = RATE, step_s: float = 0.001) -> None:
        self.gate = Gate(options)
        self.device = SimulatedDevice(tokens_per_second=rate)
        self.engine = Engine(self.device, self.gate, step_s=step_s)
        self.bulk_tokens = 0
        self.search_seconds: list[float] = []

    async def search(self, tokens: int = SEARCH_TOKENS) -> None:
        began = _now()
        await encode_gated(self.gate, self.engine, [[0] * tokens], lane=Lane.INTERACTIVE)
        self.search_seconds.append(_now() - began)

    async def ingest(self, texts: int = 64) -> None:
        """For good."""
        while True:
            await encode_gated(self.gate, self.engine, [[0] * TEXT] * texts, lane=Lane.BULK)
            self.bulk_tokens += texts * TEXT

    async def run(self, seconds: float, *, callers: int = 4, every_s: float | None = None) -> float:
        """Ingestion by so many callers, searches at a steady rate; returns bulk tokens a second."""
        before, began = self.bulk_tokens, _now()
        callers_at_work = [asyncio.create_task(self.ingest()) for _ in range(callers)]
        searches: list[asyncio.Task[None]] = []
        while _now() - began < seconds:
            if every_s:
                searches.append(asyncio.create_task(self.search()))
            await asyncio.sleep(every_s or seconds)
        rate = (self.bulk_tokens - before) / (_now() - began)
        for caller in callers_at_work:
            caller.cancel()
        await asyncio.gather(*callers_at_work, return_exceptions=True)
        await asyncio.gather(*searches)
        return rate


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _idle_search_seconds(site: Site) -> float:
    await site.search()
    return site.search_seconds.pop()


def test_without_searches_bulk_work_takes_everything() -> None:
    async def scene() -> float:
        return await Site(step_s=0).run(5)

    assert simulate(scene()) > 0.97 * RATE


def test_searches_hardly_feel_bulk_work_and_bulk_work_has_the_rest() -> None:
    async def scene() -> tuple[float, list[float], float]:
        site = Site(GateOptions(tolerance=0.3, ahead=3), step_s=0.005)
        idle = await _idle_search_seconds(site)
        await site.run(5, every_s=EVERY_S)  # until it has measured
        site.search_seconds.clear()
        rate = await site.run(10, every_s=EVERY_S)
        return idle, site.search_seconds, rate

    idle, loaded, rate = simulate(scene())
    assert median(loaded) < 1.25 * idle
    assert max(loaded) < 1.5 * idle
    left = 1 - idle / EVERY_S
    assert rate > 0.9 * left * RATE


def test_without_a_gate_searches_do_feel_it() -> None:
    """What the test above would find if the gate did nothing."""

    async def scene() -> tuple[float, float]:
        site = Site()
        idle = await _idle_search_seconds(site)
        callers = [asyncio.create_task(site.engine.encode([[0] * TEXT] * 2000, lane=Lane.BULK)) for _ in range(4)]
        await asyncio.sleep(0.01)
        await site.search()
        await asyncio.gather(*callers)
        return idle, site.search_seconds[-1]

    idle, loaded = simulate(scene())
    assert loaded > 1.75 * idle


@pytest.mark.parametrize(("share", "rate"), [(0.05, RATE), (0.3, RATE), (0.05, RATE / 12)])
def test_searches_without_end_leave_bulk_work_its_share(share: float, rate: float) -> None:
    slower = RATE / rate

    async def scene() -> float:
        site = Site(GateOptions(bulk_share=share), rate=rate)
        await site.run(slower)

        async def search_on() -> None:
            while True:
                await site.search()

        searchers = [asyncio.create_task(search_on()) for _ in range(3)]
        await asyncio.sleep(slower)
        reached = await site.run(12 * slower)
        for searcher in searchers:
            searcher.cancel()
        await asyncio.gather(*searchers, return_exceptions=True)
        return reached

    assert simulate(scene()) == pytest.approx(share * rate, rel=0.25)


def test_what_bulk_work_has_between_searches_counts_towards_its_share() -> None:
    async def scene() -> tuple[int, float]:
        site = Site(GateOptions(bulk_share=0.3))
        await site.run(2, every_s=EVERY_S)  # until it has measured
        before = site.gate.state().slices_amid_searches
        rate = await site.run(10, every_s=EVERY_S)
        return site.gate.state().slices_amid_searches - before, rate

    amid, rate = simulate(scene())
    assert amid == 0
    assert rate > 0.5 * RATE


def test_no_share_means_that_bulk_work_waits_for_the_search_to_end() -> None:
    async def scene() -> tuple[float, float]:
        site = Site(GateOptions(bulk_share=0))
        search = asyncio.create_task(site.search())
        await asyncio.sleep(0)
        await encode_gated(site.gate, site.engine, [[0] * TEXT], lane=Lane.BULK)
        ended = _now()
        await search
        return site.search_seconds[0], ended

    search_took, bulk_ended = simulate(scene())
    assert bulk_ended > search_took


def test_what_it_allows_follows_a_device_that_becomes_slower() -> None:
    async def scene() -> tuple[int, int]:
        site = Site(GateOptions(ahead=3))
        await site.run(9, every_s=EVERY_S)
        fast = site.gate.state().bulk_bound
        site.device.tokens_per_second /= 8
        await site.run(20, every_s=1)
        return fast, site.gate.state().bulk_bound

    fast, slow = simulate(scene())
    # A search takes eight times as long, too: as many tokens are the same part of it.
    assert slow == pytest.approx(fast, rel=0.35)


def test_slices_are_what_fits_and_a_long_prompt_goes_alone() -> None:
    async def scene() -> list[int]:
        site = Site(GateOptions(slice_tokens=1000))
        await encode_gated(site.gate, site.engine, [[0] * n for n in (400, 400, 400, 3000, 999, 1)], lane=Lane.BULK)
        return site.engine.slices

    assert simulate(scene()) == [800, 400, 3000, 1000]


def test_outputs_keep_the_order_of_the_prompts() -> None:
    async def scene() -> list[int]:
        site = Site(GateOptions(slice_tokens=100, slots=3))
        lengths = list(range(1, 200, 7))
        outputs = await encode_gated(site.gate, site.engine, [[0] * n for n in lengths], lane=Lane.BULK)
        return [int(output[0]) for output in outputs]

    assert simulate(scene()) == list(range(1, 200, 7))


def test_a_slice_that_fails_takes_its_call_along_and_no_other() -> None:
    async def scene() -> tuple[object, object, int]:
        site = Site(GateOptions(slice_tokens=100))
        site.engine = Engine(site.device, site.gate, broken=77)
        good, bad = await asyncio.gather(
            encode_gated(site.gate, site.engine, [[0] * 50] * 20, lane=Lane.BULK),
            encode_gated(site.gate, site.engine, [[0] * 50, [0] * 77, [0] * 50], lane=Lane.BULK),
            return_exceptions=True,
        )
        return good, bad, site.gate.state().bulk_tokens

    good, bad, left = simulate(scene())
    assert isinstance(good, list)
    assert isinstance(bad, EngineFailed)
    assert left == 0


def test_the_simulation_notices_a_deadlock() -> None:
    async def scene() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        simulate(scene())


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"bulk_share": 1.0}, {"bulk_share": -0.1}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        GateOptions(**options)  # type: ignore[arg-type]


async def _asked(site: Site, recall_s: float) -> Sequence[int]:
    """A search of two calls; returns the bulk slices begun before, between, during and after them."""
    begun = []
    with site.gate.search():
        begun.append(len(site.engine.slices))
        await site.search(1000)
        begun.append(len(site.engine.slices))
        await asyncio.sleep(recall_s)
        begun.append(len(site.engine.slices))
        await site.search()
    await asyncio.sleep(0.01)
    return [*begun, len(site.engine.slices)]


def test_between_the_calls_of_a_search_nothing_begins_either() -> None:
    async def scene() -> list[Sequence[int]]:
        site = Site(GateOptions(bulk_share=0))
        callers = [asyncio.create_task(site.ingest()) for _ in range(4)]
        await _asked(site, 0.01)  # how long a call takes is not known before
        asked = [await _asked(site, 0.01) for _ in range(3)]
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        return asked

    for begun in simulate(scene()):
        assert len(set(begun[:-1])) == 1
        assert begun[-1] > begun[0]


def test_a_slow_store_does_not_hold_bulk_work_up() -> None:
    async def scene() -> float:
        site = Site(GateOptions(bulk_share=0))

        async def search_on() -> None:
            while True:
                await _asked(site, 2)

        await _asked(site, 0.01)
        searcher = asyncio.create_task(search_on())
        rate = await site.run(20)
        searcher.cancel()
        await asyncio.gather(searcher, return_exceptions=True)
        return rate

    assert simulate(scene()) > 0.85 * RATE


Call = tuple[str, float, list[int], float | None]
"""Lane or a search of two calls, when it comes, the lengths of its prompts, and how long its caller waits."""

calls = st.lists(
    st.tuples(
        st.sampled_from(["bulk", "call", "search"]),
        st.floats(0, 2),
        st.lists(st.integers(1, 3000), min_size=1, max_size=12),
        st.one_of(st.none(), st.floats(0.0001, 0.2)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(calls, st.sampled_from([0.0, 0.1, 0.5]), st.integers(1, 3), st.integers(100, 5000))
def test_whatever_comes_and_goes_everybody_is_served(
    script: list[Call], share: float, slots: int, slice_tokens: int
) -> None:
    async def scene() -> None:
        site = Site(GateOptions(bulk_share=share, slots=slots, slice_tokens=slice_tokens), rate=100_000)

        async def work(lane: str, prompts: list[list[int]]) -> Sequence[Vector]:
            if lane == "bulk":
                return await encode_gated(site.gate, site.engine, prompts, lane=Lane.BULK)
            if lane == "call":
                return await encode_gated(site.gate, site.engine, prompts, lane=Lane.INTERACTIVE)
            with site.gate.search():
                await encode_gated(site.gate, site.engine, prompts[:1], lane=Lane.INTERACTIVE)
                await asyncio.sleep(len(prompts) / 50)
                return await encode_gated(site.gate, site.engine, prompts, lane=Lane.INTERACTIVE)

        async def call(lane: str, at: float, lengths: list[int], patience: float | None) -> None:
            await asyncio.sleep(at)
            try:
                outputs = await asyncio.wait_for(work(lane, [[0] * n for n in lengths]), patience)
            except TimeoutError:
                assert patience is not None
                return
            assert [int(output[0]) for output in outputs] == lengths

        await asyncio.gather(*(call(*each) for each in script))
        state = site.gate.state()
        assert (state.interactive, state.bulk_slices, state.bulk_tokens, state.bulk_waiting) == (0, 0, 0, 0)
        assert site.engine.most_in_flight <= max(2 * slots * slice_tokens, 3000)
        await site.search()  # and the gate still works
        await encode_gated(site.gate, site.engine, [[0] * 10], lane=Lane.BULK)

    simulate(scene())


def test_first_come_first_served() -> None:
    async def scene() -> list[int]:
        site = Site(GateOptions(slice_tokens=100))
        ended: list[int] = []

        async def call(number: int) -> None:
            await encode_gated(site.gate, site.engine, [[0] * 100], lane=Lane.BULK)
            ended.append(number)

        await asyncio.gather(*(call(number) for number, _ in zip(range(12), cycle([None]), strict=False)))
        return ended

    assert simulate(scene()) == list(range(12))
