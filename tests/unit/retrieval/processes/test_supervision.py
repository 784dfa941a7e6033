"""What is kept running comes back, whatever its starts meet."""

import asyncio
from collections.abc import Sequence

import pytest

from retrieval.errors import EngineFailed, StoreFailed
from retrieval.processes import supervision
from retrieval.processes.supervision import keep_running
from tests.support.patching import replace_in


class Part:
    """Ends as often as the test says; its starts raise what the test says, one after the other."""

    def __init__(self, refusals: Sequence[Exception]) -> None:
        self._refusals = list(refusals)
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.started = asyncio.Event()
        self.starts = 0
        self.reported: list[str] = []

    async def start(self) -> None:
        self.starts += 1
        if self._refusals:
            raise self._refusals.pop(0)
        self.started.set()


def kept(part: Part, longest: float = 0) -> "asyncio.Task[None]":
    return asyncio.create_task(
        keep_running(
            "part",
            part.ends.get,
            part.start,
            on_failed_start=part.reported.append,
            hopeless=(StoreFailed,),
            first_pause_seconds=0 if not longest else 1,
            longest_pause_seconds=longest,
            stable_seconds=60,
        )
    )


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "refusal",
    [OSError(12, "Cannot allocate memory"), RuntimeError("can't start new thread"), EngineFailed("no such model")],
)
async def test_a_start_may_fail_any_number_of_times(refusal: Exception) -> None:
    part = Part([refusal] * 20)
    task = kept(part)
    part.ends.put_nowait("killed")
    await asyncio.wait_for(part.started.wait(), 10)
    assert part.starts == 21
    assert len(part.reported) == 20
    assert str(refusal.args[-1]) in part.reported[0]
    await ended(task)


async def test_a_start_that_no_repetition_helps_ends_it() -> None:
    part = Part([OSError("none left"), StoreFailed("damaged")])
    task = kept(part)
    part.ends.put_nowait("gone")
    with pytest.raises(StoreFailed, match="damaged"):
        await task
    assert (part.starts, part.reported) == (2, ["OSError: none left"])


async def test_it_is_kept_after_each_restart() -> None:
    part = Part([])
    task = kept(part)
    for count in (1, 2, 3):
        part.ends.put_nowait("killed")
        await asyncio.wait_for(part.started.wait(), 10)
        part.started.clear()
        assert part.starts == count
    await ended(task)


async def test_pauses_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    replace_in(monkeypatch, supervision, "asyncio", sleep=noted)
    part = Part([OSError()] * 4)
    task = kept(part, longest=5)
    part.ends.put_nowait("killed")
    await asyncio.wait_for(part.started.wait(), 10)
    assert pauses == [1, 2, 4, 5, 5]
    await ended(task)
