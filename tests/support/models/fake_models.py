"""Deterministic doubles of both model ports, for tests and machines without models. They know words, not meanings."""

from collections.abc import Sequence
from hashlib import shake_256

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from retrieval.errors import EngineDead, TandemError
from retrieval.text.tokenizer import count_tokens, encode_texts
from retrieval.types import Calibration, Embeddings, Fingerprint, Lane, RerankScores, TextKind, Vector

UNKNOWN = "[UNK]"

INSTRUCTION_WEIGHT = 0.1
"""Weight of an instruction's words in a query's vector: enough to move it, too little to outweigh the query's own."""

LENGTH_WEIGHT = 0.01
"""Of a passage's shortness in its score: settles ties and nothing else."""


def word_tokenizer() -> Tokenizer:
    """One token per word, punctuation mark or Chinese character; it knows no word, so every id is 0."""
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _words(tokenizer: Tokenizer, text: str, limit: int) -> tuple[list[str], int]:
    """The first `limit` tokens as lower-case text, and how many more there were. Raises InvalidText."""
    encode_texts(tokenizer, [text])  # refuses what no model can read
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    return [text[start:end].strip().lower() for start, end in offsets[:limit]], max(0, len(offsets) - limit)


class FakeEmbedder:
    """Port Embedder: hashed bag of words, so texts that share words are near and others almost orthogonal.

    Set `fail_with` to have every later call raise it; `failure` then tells its message.
    """

    def __init__(self, *, dimension: int = 384, max_tokens: int = 512, tokenizer: Tokenizer | None = None) -> None:
        self.fail_with: TandemError | None = None
        self._dimension = dimension
        self._max_tokens = max_tokens
        self._tokenizer = tokenizer or word_tokenizer()
        self._running = False

    async def start(self) -> None:
        self._running = True

    async def close(self) -> None:
        self._running = False

    @property
    def failure(self) -> str | None:
        return _failure(self.fail_with, running=self._running)

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            model="fake-embedder",
            revision="0" * 12,
            dimension=self._dimension,
            normalized=True,
            prompt_version="1",
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._max_tokens

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return count_tokens(self._tokenizer, texts)

    @property
    def reducible(self) -> bool:
        return True

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        del kind, lane  # a port's arguments: queries are as documents, and nothing is scheduled
        _raise_failure(self.fail_with, running=self._running)
        vectors = np.empty((len(texts), self._dimension), dtype=np.float32)
        tokens: list[int] = []
        truncated: list[int] = []
        special = self._tokenizer.num_special_tokens_to_add(False)
        prompt = _words(self._tokenizer, instruction or "", self._max_tokens // 2)[0]
        for row, text in enumerate(texts):
            words, cut = _words(self._tokenizer, text, self._max_tokens - len(prompt))
            vectors[row] = self._vector(words, prompt)
            tokens.append(len(prompt) + len(words) + special)
            truncated.append(cut)
        return Embeddings(vectors, tuple(tokens), tuple(truncated), self.fingerprint)

    def _vector(self, words: Sequence[str], prompt: Sequence[str]) -> Vector:
        # A text without words has a direction, too.
        total = sum((self._direction(word) for word in words[1:]), self._direction(words[0] if words else ""))
        for word in prompt:
            total = total + INSTRUCTION_WEIGHT * self._direction(word)
        unit: Vector = total / np.float32(np.linalg.norm(total))
        return unit

    def _direction(self, word: str) -> Vector:
        # The half keeps every component, and so the norm, away from zero and their mean at it.
        raw = np.frombuffer(shake_256(word.encode()).digest(self._dimension), dtype=np.int8)
        return (raw.astype(np.float32) + np.float32(0.5)) / np.float32(128)


class FakeReranker:
    """Port Reranker: the share of the query's distinct words that the passage holds; of equals, the shorter passage
    is a little better.

    `max_tokens` bounds query and passage together; a query gets at most half of it. `fail_with` as in FakeEmbedder.
    """

    def __init__(self, *, max_tokens: int = 512, tokenizer: Tokenizer | None = None) -> None:
        self.fail_with: TandemError | None = None
        self._max_tokens = max_tokens
        self._tokenizer = tokenizer or word_tokenizer()
        self._running = False

    async def start(self) -> None:
        self._running = True

    async def close(self) -> None:
        self._running = False

    @property
    def failure(self) -> str | None:
        return _failure(self.fail_with, running=self._running)

    @property
    def model(self) -> str:
        return "fake-reranker"

    @property
    def weight(self) -> float:
        return 1.0

    @property
    def calibration(self) -> Calibration | None:
        return None

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        del lane, instruction  # a port's arguments: nothing is scheduled, and overlap has no use for a task
        _raise_failure(self.fail_with, running=self._running)
        query_words, query_cut = _words(self._tokenizer, query, self._max_tokens // 2)
        wanted = set(query_words)
        scores: list[float] = []
        truncated: list[int] = []
        tokens = 0
        for passage in passages:
            words, cut = _words(self._tokenizer, passage, self._max_tokens - len(query_words))
            share = len(wanted.intersection(words)) / len(wanted) if wanted else 0.0
            scores.append((1 - LENGTH_WEIGHT) * share + LENGTH_WEIGHT / (1 + len(words)))
            truncated.append(cut)
            tokens += len(query_words) + len(words)
        return RerankScores(tuple(scores), tokens, tuple(truncated), query_cut, self.model)


def _failure(fail_with: TandemError | None, *, running: bool) -> str | None:
    if fail_with is not None:
        return fail_with.message
    return None if running else "The fake engine is not running."


def _raise_failure(fail_with: TandemError | None, *, running: bool) -> None:
    if fail_with is not None:
        raise fail_with
    if not running:
        raise EngineDead("The fake engine is not running.")
