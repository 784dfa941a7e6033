"""Starts the node in the background, so that health routes answer from the first moment, and reports its progress."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from app.node.node import Components, Node, NodeOptions, OnStep
from retrieval.errors import NotReady, TandemError

log = structlog.get_logger()

Build = Callable[[OnStep], Awaitable[Components]]
OnFailure = Callable[[TandemError], None]

YOUNG_OBJECTS = 20_000
"""New objects between two garbage collections. With Python's 700, collections took 8 % of the event loop's time during
ingestion (py-spy, two cores)."""


class Runner:
    def __init__(self, build: Build, options: NodeOptions, on_failure: OnFailure | None = None) -> None:
        """`on_failure` is called with an error that permanently prevents the start."""
        self._build = build
        self._options = options
        self._on_failure = on_failure
        self._starting: asyncio.Task[None] | None = None
        self._step = "about to start"
        self.phase: Literal["starting", "serving", "draining", "stopping"] = "starting"
        self.node: Node | None = None

    def start(self) -> None:
        self._starting = asyncio.create_task(self._start())

    async def drain(self) -> None:
        """Call it before a stop: ends ingestion while the requests in flight are still answered."""
        if self.phase == "serving":
            self.phase = "draining"
        if self.node:
            await self.node.drain()

    async def stop(self) -> None:
        self.phase = "stopping"
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self.node:
            await self.node.stop()

    def problems(self) -> dict[str, str]:
        """Returns the reasons why the node is not ready, by component; empty while it is ready."""
        if self.phase in ("draining", "stopping"):
            return {"node": "The node is stopping."}
        found = self.node.problems() if self.node else {}
        if self.phase == "starting":
            failed = {name: reason for name, reason in found.items() if name == "self_test"}
            return {"node": f"The node is {self._step}.", **failed}
        return found

    def serving(self) -> Node:
        """Returns the node. Raises NotReady while it starts or stops, or if a model failed its self-test: wrong answers
        are worse than none. A part that is temporarily unavailable raises its own error when it is used.
        """
        # While it drains, requests in flight still use it.
        problems = self.node.problems() if self.node and self.phase == "draining" else self.problems()
        blocking = next((name for name in ("node", "self_test") if name in problems), None)
        if blocking or not self.node:
            raise NotReady(f"{problems.get(blocking or 'node', 'The node is starting.')} See /health/ready.")
        return self.node

    async def _start(self) -> None:
        try:
            components = await self._build(self._report_step)
            self.node = Node(components, self._options)
            await self.node.start(self._report_step)
        except TandemError as error:
            log.error("the node cannot start", code=error.code, reason=error.message)
            self._step = f"unable to start: {error.message}"
            if self._on_failure:
                self._on_failure(error)
            return
        # Everything imported and built so far stays: excluding it shortens full garbage collections, which halt
        # requests.
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        self.phase = "serving"
        problems = self.problems()
        log.info("not ready" if problems else "ready", **problems)

    def _report_step(self, step: str) -> None:
        log.info(step)
        self._step = step
