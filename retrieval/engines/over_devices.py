"""The engines of one model on several devices, behind the devices' gates, as one engine.

A prompt is computed alike on each, so that what one device fails at for its own reasons another one is asked for.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from retrieval.device.devices import Device, chosen_device
from retrieval.device.gate import Turn, turn_of_any
from retrieval.device.gated import encode_in_slices
from retrieval.engines.replicas import Replicas
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.messages import Output
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.errors import EngineDead, NotReady
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, TokenIds

SPREAD_TOKENS = 8192
"""The least part of an interactive call that is worth a device of its own."""
_LOOK_SECONDS = 0.5
"""Interval of checks whether the engine that computes a call is responsive."""

Engine = VllmEngine | Replicas


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Of one call, for whichever engine computes it."""

    dimensions: int | None
    task: EngineTask | None


@dataclass(frozen=True, slots=True, eq=False)
class _Seat:
    device: Device
    engine: Engine

    @property
    def serves(self) -> bool:
        return self.engine.failure is None and self.engine.responsive

    @property
    def load(self) -> tuple[int, int, int]:
        gate = self.device.gate
        return gate.searches, self.engine.unfinished, gate.bulk_tokens

    async def encode(self, token_ids: Sequence[TokenIds], lane: Lane, wanted: _Wanted) -> Sequence[Output]:
        return await self.engine.encode(token_ids, lane=lane, dimensions=wanted.dimensions, task=wanted.task)


class OverDevices:
    """Serves as long as one of the devices does. Bulk work goes in slices to whichever gate lets it through first,
    interactive work to the device that was chosen for its search, else to the one with the least to do."""

    def __init__(
        self,
        name: str,
        devices: Sequence[Device],
        engine: Callable[[Device], Engine],
        *,
        spread_tokens: int | None = SPREAD_TOKENS,
    ) -> None:
        """`name` distinguishes these engines from others of the devices. `spread_tokens`: several idle devices share an
        interactive call if each gets at least this many tokens; None: never.
        """
        self._name = name
        self._seats = [_Seat(device, engine(device)) for device in devices]
        self.spread_tokens = spread_tokens

    @property
    def options(self) -> EngineOptions:
        """Options of the first engine; the others differ in their device."""
        return self._seats[0].engine.options

    @property
    def failure(self) -> str | None:
        failures = [seat.engine.failure for seat in self._seats]
        return None if None in failures else failures[0]

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(pid for seat in self._seats for pid in seat.engine.pids)

    @property
    def unfinished(self) -> int:
        return sum(seat.engine.unfinished for seat in self._seats)

    @property
    def restarts(self) -> int:
        return sum(seat.engine.restarts for seat in self._seats)

    async def start(self) -> None:
        """Errors as in `VllmEngine.start`."""
        for seat in self._seats:
            seat.device.engines[self._name] = seat.engine
        await gather_or_cancel(seat.engine.start() for seat in self._seats)

    async def close(self) -> None:
        for seat in self._seats:
            if seat.device.engines.get(self._name) is seat.engine:
                del seat.device.engines[self._name]
        await gather_or_cancel(seat.engine.close() for seat in self._seats)

    async def encode(
        self,
        token_ids: Sequence[TokenIds],
        *,
        lane: Lane,
        dimensions: int | None = None,
        task: EngineTask | None = None,
    ) -> Sequence[Output]:
        """Returns one output per prompt, in order. Raises the errors of `VllmEngine.encode` if no other
        device is left.
        """
        wanted = _Wanted(dimensions, task)
        if lane is Lane.BULK:
            return await self._bulk(token_ids, wanted, frozenset())
        parts = self._parts(token_ids)
        outputs = await gather_or_cancel(self._interactive(part, wanted, seat) for seat, part in parts)
        return [output for part in outputs for output in part]

    def _parts(self, token_ids: Sequence[TokenIds]) -> Sequence[tuple[_Seat, Sequence[TokenIds]]]:
        first = self._pick(self._seats)
        if self.spread_tokens is None or len(self._seats) == 1:
            return [(first, token_ids)]
        lengths = list(map(len, token_ids))
        seats = [first, *(seat for seat in self._seats if seat is not first and seat.serves and not any(seat.load))]
        seats = seats[: max(1, min(len(token_ids), sum(lengths) // self.spread_tokens))]
        if len(seats) == 1:
            return [(first, token_ids)]
        bounds = [len(token_ids) * number // len(seats) for number in range(len(seats) + 1)]
        return [(seat, token_ids[start:end]) for seat, (start, end) in zip(seats, pairwise(bounds), strict=True)]

    def _pick(self, seats: Sequence[_Seat]) -> _Seat:
        serving = [seat for seat in seats if seat.serves] or [seat for seat in seats if seat.engine.failure is None]
        chosen = chosen_device()
        if of_search := [seat for seat in serving if seat.device is chosen]:
            return of_search[0]
        return min(serving or seats, key=lambda seat: seat.load)

    async def _interactive(self, token_ids: Sequence[TokenIds], wanted: _Wanted, seat: _Seat) -> Sequence[Output]:
        left = list(self._seats)
        while True:
            left.remove(seat)
            try:
                with seat.device.gate.interactive():
                    return await self._heard(seat, token_ids, wanted, left)
            except (EngineDead, NotReady):
                if not left:
                    raise
            seat = self._pick(left)

    async def _heard(
        self, seat: _Seat, token_ids: Sequence[TokenIds], wanted: _Wanted, left: Sequence[_Seat]
    ) -> Sequence[Output]:
        """Raises EngineDead, besides what the engine raises, where it falls silent while one of `left` serves: that it
        hangs is certain only later."""
        if not left:
            return await seat.encode(token_ids, Lane.INTERACTIVE, wanted)
        work = asyncio.ensure_future(seat.encode(token_ids, Lane.INTERACTIVE, wanted))
        try:
            while not (await asyncio.wait([work], timeout=_LOOK_SECONDS))[0]:
                if not seat.engine.responsive and any(each.serves for each in left):
                    raise EngineDead(f"The engine of {self._name} on device {seat.device.name} is silent")
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])

    async def _bulk(self, token_ids: Sequence[TokenIds], wanted: _Wanted, tried: frozenset[_Seat]) -> Sequence[Output]:
        seats = {seat.device.gate: seat for seat in self._seats if seat not in tried}

        async def take_turn(lengths: Sequence[int]) -> Turn:
            able = [gate for gate, seat in seats.items() if seat.serves]
            able = able or [gate for gate, seat in seats.items() if seat.engine.failure is None]
            return await turn_of_any(able or list(seats), lengths)

        async def encode(turn: Turn, due: Sequence[TokenIds]) -> Sequence[Output]:
            seat = seats[turn.gate]
            try:
                return await seat.encode(due, Lane.BULK, wanted)
            except (EngineDead, NotReady):
                if len(seats) == 1:
                    raise
                turn.end(measured=False)
            return await self._bulk(due, wanted, tried | {seat})

        return await encode_in_slices(token_ids, take_turn, encode)
