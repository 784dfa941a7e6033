"""Schedules the accelerator: searches run at once, ingestion runs in the time that they leave.

Engines that share a device know nothing of each other, so an embedder that is kept full slows every rerank. The gate
sees the work of all of them. Interactive work never waits here. Bulk work runs in slices, and measurements decide how
much of it may be in flight. Without searches, bulk work fills the engines. With searches, it is limited to what the
device computes within a small fraction of a search's own time. While a search computes, no bulk work starts, except
what a guaranteed share lacks.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from retrieval.device.durations import DurationCounts, Durations
from retrieval.errors import ConfigurationError

_MEMORY = 0.9
"""Decay factor: the part of a measurement's weight that is left at the next one."""
_STEPS = (0.7, 1.1)
"""Largest factor by which the bound falls or rises at one search."""
_MIN_PART = 8
"""A slice of this part of the largest is always allowed: smaller ones cost a device as much time, and do less."""
_SOONEST_SECONDS = 0.0005
"""Shortest interval between two checks of what bulk work is owed."""
_ACCOUNT_SECONDS = 1.0
"""What bulk work got or missed of its guaranteed share counts for this long."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    tolerance: float = 0.5
    """Time for which bulk work may still be in flight when a search arrives, as a fraction of the time of the search's
    own engine calls. The actual delay is shorter, since both compute concurrently.
    """
    bulk_share: float = 0.15
    """Fraction of the device's time that bulk work gets however many searches there are; in [0, 1). What it computes
    between searches counts: no slice begins amid a search while that is more.
    """
    calm_seconds: float = 5.0
    """After this long without interactive work, bulk work may fill the engines."""
    slice_tokens: int = 16384
    """Most tokens of one slice, unless a single prompt has more: those of one engine step."""
    slots: int = 1
    """Slices that compute at once, for instance one an engine replica."""
    ahead: int = 1
    """Number of slices per slot into which the work that may be in flight during searches is divided. More than one if
    an engine prepares a slice while it computes another; if both use the same cores, more slices in flight only add
    waiting time.
    """

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ConfigurationError(f"The gate's tolerance is {self.tolerance}; it must be above 0")
        if not 0 <= self.bulk_share < 1:
            raise ConfigurationError(f"The gate's bulk share is {self.bulk_share}; it must be in [0, 1)")


@dataclass(frozen=True, slots=True)
class GateState:
    """The current state and decisions of the gate."""

    interactive: int
    """Calls that compute."""
    bulk_slices: int
    """Slices in flight, as `bulk_tokens` are."""
    bulk_tokens: int
    bulk_waiting: int
    """Calls that wait for their turn."""
    bulk_bound: int
    """Tokens that may be in flight."""
    bulk_tokens_per_second: float
    """Measured, while nothing else computed; 0: not yet."""
    interactive_seconds: float
    """A typical call, as the device's time goes; 0: none yet."""
    bulk_waits: DurationCounts
    """Until each slice was admitted."""
    interactive_shared: DurationCounts
    """Time of each interactive call in which bulk work computed beside it: the most by which it was held up."""
    bulk_batches: int
    """Slices that were admitted so far."""
    bulk_batched_tokens: int
    """Tokens of these slices."""
    slices_amid_searches: int
    """Released on the guaranteed share."""


@dataclass(slots=True)
class _Waiting:
    lengths: Sequence[int]
    turn: "asyncio.Future[Turn]"
    since: float


@dataclass(slots=True)
class _Mean:
    """The mean of a ratio, weighted towards the newest measurements."""

    over: float = 0.0
    under: float = 0.0

    def add(self, over: float, under: float) -> None:
        self.over = _MEMORY * self.over + over
        self.under = _MEMORY * self.under + under

    @property
    def value(self) -> float:
        return self.over / self.under if self.under > 0 else 0.0


@dataclass(slots=True, eq=False)
class Turn:
    """The right to compute the next `prompts` prompts of a call, until `end`."""

    prompts: int
    tokens: int
    released: float
    alone: bool
    """Whether no interactive work was computed concurrently."""
    gate: "Gate"
    ended: bool = False

    def end(self, *, measured: bool) -> None:
        """Ends the turn as `Gate.end` does. May be called more than once."""
        if not self.ended:
            self.gate.end(self, measured=measured)


@dataclass(slots=True)
class _Met:
    """Bulk work that was in flight when the first of several interactive calls started."""

    since: float
    tokens: int
    turns: set[Turn]


class Gate:
    """Schedules one device. All methods belong to one event loop, whose clock it uses."""

    def __init__(self, options: GateOptions | None = None) -> None:
        self.options = options or GateOptions()
        self._interactive = 0
        self._searches = 0
        self._expected_until = 0.0
        self._last_interactive: float | None = None
        self._interactive_seconds = _Mean()
        self._in_flight: set[Turn] = set()
        self._met: _Met | None = None
        self._bound_busy = self.options.slice_tokens // 4
        self._tokens = 0
        self._tokens_per_second = _Mean()
        self._last_end = 0.0
        self._queue: deque[_Waiting] = deque()
        self._owed = 0.0
        self._owed_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._bulk_seconds = 0.0
        self._bulk_since = 0.0
        self._waits = Durations()
        self._shared = Durations()
        self._batches = 0
        self._batched_tokens = 0
        self._amid = 0

    @contextmanager
    def interactive(self) -> Iterator[None]:
        """Guards interactive work, which begins at once. Until it ends, no bulk work begins except the guaranteed
        share.
        """
        began = _now()
        bulk_before = self._bulk_until(began)
        self._close(began)
        self._interactive += 1
        for turn in self._in_flight:
            turn.alone = False
        try:
            yield
        finally:
            ended = _now()
            self._interactive -= 1
            self._last_interactive = ended
            took = ended - began
            self._shared.add(self._bulk_until(ended) - bulk_before)
            self._interactive_seconds.add(took * took, took)  # long calls have a weight by their length
            self._last_end = max(self._last_end, ended)
            self._expect(ended)
            self._release()

    @contextmanager
    def search(self) -> Iterator[None]:
        """Guards interactive work that consists of several calls. Between the calls no new bulk work starts, so bulk
        work that was in flight at the first call ends while the store recalls. This pause is never longer than a
        typical call takes: a slow store does not hold up ingestion.
        """
        began = _now()
        self._close(began)
        self._searches += 1
        self._expect(began)
        try:
            yield
        finally:
            self._searches -= 1
            self._release()

    async def turn(self, lengths: Sequence[int]) -> Turn:
        """Waits until bulk work may compute, first come, first served. `lengths` holds the tokens of a call's prompts,
        in order, at least one. The returned turn covers the first prompts, as many as fit a slice.
        """
        return await turn_of_any([self], lengths)

    @property
    def searches(self) -> int:
        """Searches under way, and calls of the interactive lane that belong to none."""
        return max(self._searches, self._interactive)

    @property
    def bulk_tokens(self) -> int:
        """Tokens of the slices in flight."""
        return self._tokens

    def end(self, turn: Turn, *, measured: bool) -> None:
        """Ends a turn. Every `turn` needs exactly one `end`. `measured` says that the turn was computed; the gate
        learns from its duration if the device had no other work.
        """
        now = _now()
        turn.ended = True
        self._bulk_seconds, self._bulk_since = self._bulk_until(now), now
        self._in_flight.remove(turn)
        self._tokens -= turn.tokens
        began = max(turn.released, self._last_end)
        if measured and turn.alone and now > began:
            self._tokens_per_second.add(turn.tokens, now - began)
        self._last_end = now
        self._learn(turn, now)
        self._release()

    def _ask(self, waiting: _Waiting) -> None:
        self._accrue(_now())
        self._queue.append(waiting)
        self._release()

    def _forget(self, waiting: _Waiting) -> None:
        """`_Waiting` compares by what it holds, and two may hold the same."""
        self._queue = deque(each for each in self._queue if each is not waiting)

    def state(self) -> GateState:
        return GateState(
            interactive=self._interactive,
            bulk_slices=len(self._in_flight),
            bulk_tokens=self._tokens,
            bulk_waiting=len(self._queue),
            bulk_bound=self._bound(_now()),
            bulk_tokens_per_second=self._tokens_per_second.value,
            interactive_seconds=self._interactive_seconds.value,
            bulk_waits=self._waits.counts(),
            interactive_shared=self._shared.counts(),
            bulk_batches=self._batches,
            bulk_batched_tokens=self._batched_tokens,
            slices_amid_searches=self._amid,
        )

    def _bulk_until(self, now: float) -> float:
        """Returns the seconds so far in which bulk work was in flight."""
        return self._bulk_seconds + (now - self._bulk_since if self._in_flight else 0.0)

    def _close(self, now: float) -> None:
        if self._closed(now):
            return
        self._met = _Met(now, self._tokens, set(self._in_flight)) if self._in_flight else None

    def _closed(self, now: float) -> bool:
        return self._interactive > 0 or (self._searches > 0 and now < self._expected_until)

    def _expect(self, now: float) -> None:
        """Records that the next call of a search is expected within the time of a typical call."""
        self._expected_until = now + self._interactive_seconds.value

    def _learn(self, turn: Turn, now: float) -> None:
        """Adjusts the bound by how long the bulk work that a search met was still in flight, whatever the device and
        the model.
        """
        if self._met is None:
            return
        self._met.turns.discard(turn)
        if self._met.turns:
            return
        seconds, tokens = now - self._met.since, self._met.tokens
        self._met = None
        wanted = self.options.tolerance * self._interactive_seconds.value
        if not wanted or not self._bound_busy / 2 <= tokens <= 2 * self._bound_busy:
            return  # not the work that the bound allowed: too little to measure, or admitted while there was no search
        step = min(max(wanted / max(seconds, wanted / 100), _STEPS[0]), _STEPS[1])
        most = 2 * self.options.slots * self.options.slice_tokens
        least = max(1, self.options.slots * self.options.slice_tokens // _MIN_PART)
        self._bound_busy = min(max(round(self._bound_busy * step), least), most)

    def _bound(self, now: float) -> int:
        """Returns the tokens that may be in flight. Twice what a slot computes at once keeps an engine from waiting for
        its next slice.
        """
        most = 2 * self.options.slots * self.options.slice_tokens
        if self._calm(now):
            return most
        return min(most, self._bound_busy)

    def _calm(self, now: float) -> bool:
        if self._closed(now):
            return False
        return self._last_interactive is None or now - self._last_interactive >= self.options.calm_seconds

    def _release(self) -> None:
        """Gives turns to waiting calls for as long as the rules allow."""
        now = _now()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._accrue(now)
        while self._queue:
            if self._queue[0].turn.done():  # cancelled, or another gate's turn by now
                self._queue.popleft()
                continue
            bound = self._bound(now)
            prompts, tokens = self._slice(self._queue[0].lengths, bound, calm=self._calm(now))
            if self._tokens and self._tokens + tokens > bound:
                return  # the end of a turn releases again
            if self._closed(now):
                if self._tokens:
                    return
                missing = self._due(tokens) - self._owed
                if missing > 0:
                    self._look_again(now, missing)
                    return
                self._amid += 1
            self._charge(tokens)
            self._grant(self._queue.popleft(), prompts, tokens, now)

    def _look_again(self, now: float, missing: float) -> None:
        """Schedules the next release: when the guaranteed share covers `missing`, or when the gate opens."""
        share = self.options.bulk_share
        when = now + max(missing / share, _SOONEST_SECONDS) if share else math.inf
        if not self._interactive:
            when = min(when, self._expected_until)
        if when < math.inf:
            self._alarm = asyncio.get_running_loop().call_at(when, self._release)

    def _grant(self, waiting: _Waiting, prompts: int, tokens: int, now: float) -> None:
        turn = Turn(prompts, tokens, now, alone=not self._interactive, gate=self)
        self._bulk_seconds, self._bulk_since = self._bulk_until(now), now
        self._in_flight.add(turn)
        self._tokens += tokens
        self._waits.add(now - waiting.since)
        self._batches += 1
        self._batched_tokens += tokens
        waiting.turn.set_result(turn)

    def _slice(self, lengths: Sequence[int], bound: int, *, calm: bool) -> tuple[int, int]:
        """Returns the prompts and tokens of the next slice: at least one prompt, whatever its length."""
        most = self.options.slice_tokens
        if not calm:
            least = max(1, most // _MIN_PART)
            most = min(most, max(least, bound // (self.options.ahead * self.options.slots)))
        tokens = lengths[0]
        prompts = 1
        for length in lengths[1:]:
            if tokens + length > most:
                break
            tokens += length
            prompts += 1
        return prompts, tokens

    def _due(self, tokens: int) -> float:
        """Returns the device seconds that `tokens` need. Until bulk work was measured, the speed of searches is used
        instead.
        """
        rate = self._tokens_per_second.value
        return tokens / rate if rate else self._interactive_seconds.value or self.options.calm_seconds

    def _accrue(self, now: float) -> None:
        """Credits bulk work with its guaranteed share of the time in which it waits."""
        if self._queue:
            longest = max(self.options.slice_tokens, self._queue[0].lengths[0])
            most = _ACCOUNT_SECONDS * self.options.bulk_share + self._due(longest)
            self._owed = min(self._owed + (now - self._owed_at) * self.options.bulk_share, most)
        self._owed_at = now

    def _charge(self, tokens: int) -> None:
        self._owed = max(self._owed - self._due(tokens), -_ACCOUNT_SECONDS * self.options.bulk_share)


async def turn_of_any(gates: Sequence[Gate], lengths: Sequence[int]) -> Turn:
    """The turn that the first of `gates` gives, at least one; the one with the least in flight is asked first. Else as
    `Gate.turn`."""
    waiting = _Waiting(lengths, asyncio.get_running_loop().create_future(), _now())
    asked = []
    for gate in sorted(gates, key=lambda gate: (gate.searches, gate.bulk_tokens)):
        asked.append(gate)
        gate._ask(waiting)
        if waiting.turn.done():
            break
    try:
        return await waiting.turn
    except asyncio.CancelledError:
        if waiting.turn.done() and not waiting.turn.cancelled():
            waiting.turn.result().end(measured=False)
        raise
    finally:
        for gate in asked:
            gate._forget(waiting)


def _now() -> float:
    return asyncio.get_running_loop().time()
