"""The embedder on the wire, for processes that have none."""

from base64 import b64encode
from dataclasses import asdict
from typing import Annotated, Literal, Self

from pydantic import Field

from app.http.schemas.collections import FingerprintOut
from app.http.schemas.wire import Text, Wire, WireRequest
from retrieval.types import Embeddings, Fingerprint, Lane, TextKind

MAX_TEXTS = 256
EmbeddedText = Annotated[str, Field(max_length=262_144)]
"""Four times what a chunk can have."""

LaneName = Literal["interactive", "bulk"]


class EmbedIn(WireRequest):
    texts: list[EmbeddedText] = Field(
        min_length=1, max_length=MAX_TEXTS, fail_fast=True, description="Any text, blank ones as well."
    )
    kind: TextKind = Field(description="The model treats questions and passages differently.")
    lane: LaneName = Field("bulk", description="interactive: before all bulk work. For questions of people only.")
    instruction: Text | None = Field(
        None,
        max_length=4000,
        description="For queries in the model's format; otherwise put before each text as it is. Default: the model's "
        "own for queries, none for documents.",
    )

    @property
    def as_lane(self) -> Lane:
        return Lane[self.lane.upper()]


class EmbedOut(Wire):
    vectors: str = Field(description="Base64 of one row of little-endian float32 for each text.")
    tokens: list[int] = Field(description="Tokens that the model saw of each text, prompt and special tokens included.")
    truncated_tokens: list[int] = Field(description="Tokens of each text that did not fit the window.")
    fingerprint: FingerprintOut = Field(description="What made the vectors.")

    @classmethod
    def of(cls, embeddings: Embeddings) -> Self:
        return cls(
            vectors=b64encode(embeddings.vectors.astype("<f4", copy=False).tobytes()).decode(),
            tokens=list(embeddings.tokens),
            truncated_tokens=list(embeddings.truncated_tokens),
            fingerprint=fingerprint_out(embeddings.fingerprint),
        )


class EmbedderOut(Wire):
    fingerprint: FingerprintOut = Field(description="What makes its vectors comparable.")
    max_tokens: int = Field(description="Longest document that is embedded without a cut, special tokens not counted.")
    tokenizer: str = Field(description="Digest of what the tokenizer makes of a test text.")


def fingerprint_out(fingerprint: Fingerprint) -> FingerprintOut:
    return FingerprintOut(**asdict(fingerprint), digest=fingerprint.digest)
