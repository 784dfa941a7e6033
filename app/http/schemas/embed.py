"""Requests and answers of the embedding model."""

from base64 import b64encode
from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import Field

from app.http.schemas.collections import FingerprintOut
from app.http.schemas.wire import Text, Wire, WireRequest
from retrieval.types import Embeddings, Fingerprint, Lane, TextKind

MAX_TEXTS = 256
EmbeddedText = Annotated[str, Field(max_length=262_144)]
"""Four times the longest chunk."""

LaneName = Literal["interactive", "bulk"]


class EmbedIn(WireRequest):
    texts: list[EmbeddedText] = Field(
        min_length=1, max_length=MAX_TEXTS, fail_fast=True, description="Texts to embed; blank ones are allowed."
    )
    kind: TextKind = Field(description="Whether the texts are queries or documents: the model treats them differently.")
    lane: LaneName = Field(
        "bulk",
        description="`interactive` takes precedence over `bulk`; use it only where a person waits for the answer.",
    )
    instruction: Text | None = Field(
        None,
        max_length=4000,
        description="Instruction: in the model's own format for queries, put before the text as it is for "
        "documents. Default: the model's own for queries, none for documents.",
    )

    @property
    def as_lane(self) -> Lane:
        return Lane[self.lane.upper()]


class EmbedOut(Wire):
    vectors: str = Field(description="Base64 of one row of little-endian float32 per text.")
    tokens: list[int] = Field(description="Tokens read of each text, including prompt and special tokens.")
    truncated_tokens: list[int] = Field(description="Tokens of each text that exceeded the window and were not read.")
    fingerprint: FingerprintOut = Field(description="Identity of the vectors.")

    @classmethod
    def of(cls, embeddings: Embeddings) -> Self:
        return cls(
            vectors=b64encode(embeddings.vectors.astype("<f4", copy=False).tobytes()).decode(),
            tokens=list(embeddings.tokens),
            truncated_tokens=list(embeddings.truncated_tokens),
            fingerprint=fingerprint_out(embeddings.fingerprint),
        )


class EmbedderOut(Wire):
    fingerprint: FingerprintOut = Field(description="Identity of its vectors.")
    max_tokens: int = Field(
        description="Longest document that is embedded without truncation, in tokens without special ones."
    )
    tokenizer: str = Field(description="Digest of the tokens of a test text.")


def fingerprint_out(fingerprint: Fingerprint) -> FingerprintOut:
    return FingerprintOut(**asdict(fingerprint), digest=fingerprint.digest)
