"""What an engine's host gives to its engine, and when: the engine itself is a double."""

import queue
from collections.abc import Sequence
from typing import cast

import pytest
import torch
from vllm.outputs import PoolingOutput, PoolingRequestOutput
from vllm.v1.engine.llm_engine import LLMEngine

from retrieval.engines.vllm.host import EngineHost, take_turn
from retrieval.engines.vllm.messages import Drop, Work
from retrieval.types import Lane


class Engine:
    """Answers everything that it was given at the next step; one that `overlaps`, at the step after it."""

    def __init__(self) -> None:
        self.overlaps = False
        self.stuck = False
        self.given: list[str] = []
        self.computing: list[str] = []
        self.steps: list[list[str]] = []

    def add_request(self, name: str, prompt: object, parameters: object, *, priority: int) -> None:
        del prompt, parameters, priority
        self.given.append(name)

    def has_unfinished_requests(self) -> bool:
        return bool(self.given or self.computing)

    def get_num_unfinished_requests(self) -> int:
        return len(self.given) + len(self.computing)

    def abort_request(self, names: Sequence[str]) -> None:
        self.given = [name for name in self.given if name not in names]

    def step(self) -> list[PoolingRequestOutput[PoolingOutput]]:
        if self.stuck:
            return []
        begun, self.given = self.given, []
        self.steps.append(begun)
        done = begun
        if self.overlaps:
            done, self.computing = self.computing, begun
        output = PoolingOutput(torch.ones(2))
        return [PoolingRequestOutput(name, output, [], 0, finished=True) for name in done]


class Mark:
    """Of a device that is done when the test says so."""

    def __init__(self) -> None:
        self.passed = True

    def record(self) -> None:
        self.passed = False

    def query(self) -> bool:
        return self.passed


def a_host(
    portion_tokens: int | None,
    block_tokens: int | None = None,
    portion_prompts: int | None = None,
    mark: Mark | None = None,
) -> tuple[EngineHost, Engine, "queue.SimpleQueue[bytes]"]:
    engine, replies = Engine(), queue.SimpleQueue[bytes]()
    host = EngineHost(
        cast("LLMEngine", engine),
        replies,
        portion_tokens=portion_tokens,
        portion_prompts=portion_prompts,
        block_tokens=block_tokens,
        mark=mark,
    )
    return host, engine, replies


def work(call: int, prompts: int, lane: Lane = Lane.BULK, tokens: int = 10) -> Work:
    return Work(call, [[1] * tokens for _ in range(prompts)], int(lane), "embed", None)


@pytest.mark.parametrize(("portion", "sizes"), [(None, [5]), (20, [2, 2, 1]), (25, [2, 2, 1]), (5, [1, 1, 1, 1, 1])])
def test_a_portion_before_each_step(portion: int | None, sizes: list[int]) -> None:
    host, engine, replies = a_host(portion)
    host.take(work(1, 5))
    while not host.idle:
        host.step()
    assert [len(step) for step in engine.steps] == sizes
    assert replies.qsize() == 1


@pytest.mark.parametrize(
    ("prompts", "sizes"),
    [
        (8, [8]),
        (9, [5, 4]),
        (20, [7, 7, 6]),
        (33, [7, 7, 7, 6, 6]),
    ],
)
def test_portions_are_as_few_as_can_be_and_of_one_size(prompts: int, sizes: list[int]) -> None:
    host, engine, _ = a_host(8192)
    engine.overlaps = True
    host.take(work(1, prompts, tokens=1000))
    while not host.idle:
        host.step()
    assert [len(step) for step in engine.steps if step] == sizes


@pytest.mark.parametrize(("block_tokens", "sizes"), [(None, [2, 2, 2, 1]), (32, [3, 4]), (1000, [2, 2, 2, 1])])
def test_what_prompts_share_is_computed_once(block_tokens: int | None, sizes: list[int]) -> None:
    """Where there is a cache of prefixes, in whole blocks: 96 of 110 tokens."""
    host, engine, _ = a_host(500, block_tokens)
    host.take(Work(1, [[1] * 110 + [2 + number] * 90 for number in range(7)], int(Lane.INTERACTIVE), "embed", None))
    while not host.idle:
        host.step()
    assert [len(step) for step in engine.steps] == sizes


def test_prompts_that_are_alike_are_not_nothing() -> None:
    host, engine, _ = a_host(64, 32)
    host.take(Work(1, [[1] * 64 for _ in range(4)], int(Lane.INTERACTIVE), "embed", None))
    while not host.idle:
        host.step()
    assert [len(step) for step in engine.steps] == [1, 2, 1]


def test_what_is_urgent_goes_before_what_waits() -> None:
    host, engine, _ = a_host(20)
    host.take(work(1, 4))
    host.step()
    host.take(work(2, 1, Lane.INTERACTIVE))
    host.step()
    assert engine.steps == [["1-0", "1-1"], ["2-0", "1-2"]]


def test_a_call_that_is_dropped_is_given_no_more() -> None:
    host, engine, replies = a_host(20)
    host.take(work(1, 4))
    host.step()
    host.take(Drop(1))
    host.step()
    assert host.idle
    assert engine.steps == [["1-0", "1-1"], []]
    assert replies.qsize() == 0


def test_the_engine_has_no_more_prompts_than_it_computes_at_once() -> None:
    host, engine, _ = a_host(200, portion_prompts=3)
    engine.overlaps = True
    host.take(work(1, 5))
    while not host.idle:
        host.step()
    assert [len(step) for step in engine.steps] == [3, 0, 2, 0]


def two_turns(host: EngineHost, engine: Engine, *, prompts: int) -> "queue.SimpleQueue[object]":
    """After a call has come, with a device that computes meanwhile; returns where more can come."""
    engine.overlaps = True
    inbox = queue.SimpleQueue[object]()
    inbox.put(work(1, prompts))
    take_turn(host, inbox)
    take_turn(host, inbox)
    return inbox


def test_what_comes_while_the_device_computes_is_prepared_meanwhile() -> None:
    mark = Mark()
    host, engine, replies = a_host(20, mark=mark)
    inbox = two_turns(host, engine, prompts=2)
    assert engine.steps == [["1-0", "1-1"]]
    inbox.put(work(2, 1))
    take_turn(host, inbox)
    assert engine.steps == [["1-0", "1-1"], ["2-0"]]
    assert replies.qsize() == 1
    take_turn(host, inbox)
    assert len(engine.steps) == 2
    mark.passed = True
    take_turn(host, inbox)
    assert replies.qsize() == 2
    assert host.idle


def test_a_portion_that_waits_is_prepared_while_the_device_computes() -> None:
    host, engine, _ = a_host(20, mark=Mark())
    two_turns(host, engine, prompts=4)
    assert engine.steps == [["1-0", "1-1"], ["1-2", "1-3"]]


def test_the_pulse_beats_while_something_is_finished_and_rests_with_the_host() -> None:
    host, engine, _ = a_host(20)
    inbox = queue.SimpleQueue[object]()
    inbox.put(work(1, 3))
    seen = []
    while not (host.idle and inbox.empty()):
        take_turn(host, inbox)
        seen.append((host.pulse.progress, host.pulse.working))
    assert seen == [(3, True), (4, True)]
    engine.stuck = True
    inbox.put(work(2, 3))
    seen = []
    for _ in range(3):
        take_turn(host, inbox)
        seen.append((host.pulse.progress, host.pulse.working))
    assert seen == [(5, True)] * 3
