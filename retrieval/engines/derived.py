"""Embedders on another embedder, under a fingerprint of their own."""

from collections.abc import Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from retrieval.ports import Embedder
from retrieval.types import Embeddings, Fingerprint, Lane, TextKind


class DerivedEmbedder:
    """Implements Embedder on another embedder, which its owner starts and closes. The vectors are those of `whole`."""

    def __init__(self, whole: Embedder, fingerprint: Fingerprint) -> None:
        self._whole = whole
        self._fingerprint = fingerprint

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def failure(self) -> str | None:
        return self._whole.failure

    @property
    def fingerprint(self) -> Fingerprint:
        return self._fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._whole.tokenizer

    @property
    def max_tokens(self) -> int:
        return self._whole.max_tokens

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return self._whole.count(texts)

    @property
    def reducible(self) -> bool:
        return self._whole.reducible

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        whole = await self._whole.embed(texts, kind=kind, lane=lane, instruction=instruction)
        return replace(whole, fingerprint=self._fingerprint)
