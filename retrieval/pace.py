"""Measures how fast a stage computes by its own calls, and predicts how long a call takes."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from retrieval.delegating import DelegatingReranker
from retrieval.ports import Reranker
from retrieval.types import Lane, RerankScores

ENOUGH_TOKENS = 2048
"""Tokens computed without a pause that are enough to measure a speed: the fixed cost of a call dominates
smaller ones.
"""
CANDIDATE_TOKENS, SENTENCE_TOKENS = 512, 64
"""Assumed tokens of a passage with its query, until some were measured."""
BYTES_OF_TOKEN = 4
"""Average bytes of UTF-8 per token, about equal in English and Chinese."""
MEMORY_SECONDS = 30.0
"""Seconds of computing after which the weight of a measurement has fallen to 1/e."""
_MEMORY_PASSAGES = 0.9
"""Decay factor of earlier passages at each call."""


@dataclass(slots=True)
class Call:
    began: float
    tokens: int = 0
    """Computed tokens; 0 for a call that failed or was cancelled, whose progress is unknown."""


class Pace:
    """Tokens per second over all calls that compute concurrently. Belongs to one event loop, whose clock it uses.

    Until a sufficiently long piece of work was measured, the speed is the best that shorter calls reached, such as
    those of the self-test: less than the stage's own speed.
    """

    def __init__(self) -> None:
        self._measured_tokens = self._measured_seconds = 0.0
        self._first = 0.0
        self._calls = 0
        self._since = self._valid_from = 0.0
        self._tokens = 0
        self._measured_at = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Measured speed; 0 before the first measurement."""
        return self._measured_tokens / self._measured_seconds if self._measured_seconds else self._first

    def seconds(self, tokens: float) -> float:
        """Returns the expected seconds for this many tokens without other work; 0 before the first measurement."""
        speed = self.tokens_per_second
        return tokens / speed if speed else 0.0

    def is_older_than(self, seconds: float) -> bool:
        """Returns whether the last measurement is older than this."""
        return _now() - self._measured_at > seconds

    @contextmanager
    def measuring(self) -> Iterator[Call]:
        """Guards one call; the caller sets its number of tokens after it was computed."""
        call = Call(_now())
        if not self._calls:
            self._begin(call.began)
        self._calls += 1
        try:
            yield call
        finally:
            self._calls -= 1
            if call.tokens:
                self._add(call, _now())
            else:
                self._begin(_now())

    def _begin(self, now: float) -> None:
        """Begins a measurement of the calls from now on."""
        self._valid_from = self._since = now
        self._tokens = 0

    def _add(self, call: Call, now: float) -> None:
        if call.began < self._valid_from:
            return
        self._tokens += call.tokens
        seconds = now - self._since
        if self._tokens >= ENOUGH_TOKENS:
            kept = math.exp(-seconds / MEMORY_SECONDS)
            self._measured_tokens = kept * self._measured_tokens + self._tokens
            self._measured_seconds = kept * self._measured_seconds + seconds
            self._since, self._tokens, self._measured_at = now, 0, now
        elif not self._measured_seconds and seconds > 0:
            self._first = max(self._first, self._tokens / seconds)
            self._measured_at = now


class PacedReranker(DelegatingReranker):
    """Implements Reranker on another one, and measures its pace and the size of its passages."""

    def __init__(self, reranker: Reranker, pace: Pace, passage_tokens: int = CANDIDATE_TOKENS) -> None:
        super().__init__(reranker)
        self.pace = pace
        self._expected = float(passage_tokens)
        self._tokens = self._passages = 0.0

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        with self.pace.measuring() as call:
            scores = await self._reranker.rerank(query, passages, lane=lane, instruction=instruction)
            call.tokens = scores.tokens
        self._tokens = _MEMORY_PASSAGES * self._tokens + scores.tokens
        self._passages = _MEMORY_PASSAGES * self._passages + len(passages)
        return scores

    def seconds(self, passages: int) -> float:
        """Returns the expected seconds for this many passages of the size of the last ones."""
        tokens = self._tokens / self._passages if self._passages else self._expected
        return self.pace.seconds(passages * tokens)


def expected_tokens(texts: Sequence[str], window: int) -> int:
    """Returns an estimate of the tokens that a model with this window reads of the texts. Cheap."""
    return sum(min(window, 1 + len(text.encode(errors="replace")) // BYTES_OF_TOKEN) for text in texts)


def _now() -> float:
    return asyncio.get_running_loop().time()
