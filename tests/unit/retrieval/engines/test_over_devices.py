"""One model on several devices: who computes what, and what becomes of work when a device fails."""

import asyncio

import pytest

from retrieval.device.devices import Device, Devices, chosen
from retrieval.device.gate import Gate, GateOptions
from retrieval.engines.over_devices import OverDevices
from retrieval.errors import EngineDead
from retrieval.types import Lane, TokenIds
from tests.support.models.fake_engines import FakeEngine

SLICE = 100


class Site:
    """Devices with one engine each, not spreading unless it is said how."""

    def __init__(self, count: int = 2, spread_tokens: int | None = None) -> None:
        self.engines = {str(number): FakeEngine(number) for number in range(count)}
        self.devices = Devices([Device(name, Gate(GateOptions(slice_tokens=SLICE))) for name in self.engines])
        self.model = OverDevices(
            "model",
            self.devices,
            lambda device: self.engines[device.name],  # type: ignore[arg-type,return-value]
            spread_tokens=spread_tokens,
        )

    async def computed(self, prompts: list[TokenIds], lane: Lane = Lane.INTERACTIVE) -> list[tuple[int, int]]:
        """By which engine, and the first token, of each prompt."""
        outputs = await self.model.encode(prompts, lane=lane)
        return [(int(output[0]), int(output[1])) for output in outputs]


async def site(count: int = 2, spread_tokens: int | None = None) -> Site:
    made = Site(count, spread_tokens)
    await made.model.start()
    return made


def texts(count: int, tokens: int = SLICE) -> list[TokenIds]:
    return [[number] + [0] * (tokens - 1) for number in range(count)]


async def test_bulk_work_keeps_every_device_busy_and_comes_back_in_order() -> None:
    at = await site()
    for engine in at.engines.values():
        engine.go_on.clear()
    work = asyncio.create_task(at.computed(texts(8), Lane.BULK))
    while sum(engine.unfinished for engine in at.engines.values()) < 4:
        await asyncio.sleep(0)
    assert [engine.unfinished for engine in at.engines.values()] == [2, 2]
    for engine in at.engines.values():
        engine.go_on.set()
    done = await work
    assert [first for _, first in done] == list(range(8))
    assert {engine for engine, _ in done} == {0, 1}


@pytest.mark.parametrize("lane", Lane)
async def test_the_task_of_a_call_is_passed_on(lane: Lane) -> None:
    at = await site(1)
    await at.model.encode(texts(1), lane=lane)
    await at.model.encode(texts(1), lane=lane, task="token_embed")
    assert at.engines["0"].tasks == [None, "token_embed"]


async def test_bulk_work_goes_where_no_search_is() -> None:
    at = await site()
    with at.devices.search():
        busy = next(device for device in at.devices if device.gate.searches)
        with busy.gate.interactive():
            done = await at.computed(texts(6), Lane.BULK)
    assert {engine for engine, _ in done} == {1 - int(busy.name)}


async def test_searches_go_to_the_device_with_the_fewest() -> None:
    at = await site()
    with at.devices.search():
        (first,) = await at.computed(texts(1))
        with at.devices.search():
            (second,) = await at.computed(texts(1))
    assert {first[0], second[0]} == {0, 1}


async def test_a_search_s_calls_stay_on_its_device() -> None:
    at = await site()
    with at.devices.search():
        chosen_first = (await at.computed(texts(1)))[0][0]
        at.engines[str(chosen_first)].unfinished = 50
        assert (await at.computed(texts(1)))[0][0] == chosen_first


async def test_what_a_device_loses_by_its_death_another_one_computes() -> None:
    at = await site()
    first, _ = at.engines.values()
    first.go_on.clear()
    with chosen(at.devices[0]):
        work = asyncio.create_task(at.computed(texts(3)))
    while not first.unfinished:
        await asyncio.sleep(0)
    first.die()
    assert await work == [(1, 0), (1, 1), (1, 2)]
    assert at.model.failure is None
    assert at.devices[0].failure == "died"


async def test_slices_of_a_dead_device_are_computed_by_the_others() -> None:
    at = await site(3)
    for engine in at.engines.values():
        engine.go_on.clear()
    work = asyncio.create_task(at.computed(texts(12), Lane.BULK))
    while not all(engine.unfinished for engine in at.engines.values()):
        await asyncio.sleep(0)
    at.engines["1"].die()
    for name in "02":
        at.engines[name].go_on.set()
    done = await work
    assert [first for _, first in done] == list(range(12))
    assert {engine for engine, _ in done} == {0, 2}
    assert [device.gate.bulk_tokens for device in at.devices] == [0, 0, 0]


async def test_when_none_is_left_the_error_is_told() -> None:
    at = await site()
    for engine in at.engines.values():
        engine.die()
    for lane in Lane:
        with pytest.raises(EngineDead, match="died"):
            await at.computed(texts(2), lane)
    assert at.model.failure == "died"


async def test_a_call_leaves_a_device_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.engines.over_devices._LOOK_SECONDS", 0.001)
    at = await site()
    first, _ = at.engines.values()
    first.go_on.clear()
    with chosen(at.devices[0]):
        work = asyncio.create_task(at.computed(texts(1)))
    while not first.unfinished:
        await asyncio.sleep(0)
    first.responsive = False
    assert await work == [(1, 0)]
    assert first.unfinished == 0
    assert (await at.computed(texts(1)))[0][0] == 1


async def test_a_large_call_is_spread_over_idle_devices() -> None:
    at = await site(3, spread_tokens=SLICE)
    done = await at.computed(texts(7))
    assert [first for _, first in done] == list(range(7))
    assert sorted(len([1 for engine, _ in done if engine == number]) for number in range(3)) == [2, 2, 3]


async def test_a_small_call_or_one_beside_other_work_is_not_spread() -> None:
    at = await site(2, spread_tokens=SLICE)
    assert len({engine for engine, _ in await at.computed(texts(3, tokens=SLICE // 2))}) == 1
    turn = await at.devices[1].gate.turn([10])
    assert {engine for engine, _ in await at.computed(texts(4))} == {0}
    turn.end(measured=False)
    assert {engine for engine, _ in await at.computed(texts(4))} == {0, 1}
