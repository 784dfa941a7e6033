"""The kernel's types. Frozen, slotted, without behaviour beyond what follows from the data itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from json import dumps
from math import exp
from typing import Literal, NewType

import numpy as np
import numpy.typing as npt

from retrieval.filters.tree import KeyType

ChunkId = NewType("ChunkId", str)
DocumentId = NewType("DocumentId", str)
StoreName = NewType("StoreName", str)
"""Name of a physical collection in the vector store: `<collection>__<fingerprint digest>`."""

Vector = npt.NDArray[np.float32]
"""Shape (dimension,)."""
Vectors = npt.NDArray[np.float32]
"""Shape (texts, dimension)."""
TokenIds = Sequence[int]
TextKind = Literal["query", "document"]
Language = Literal["zh", "en", "mixed"]


class Lane(IntEnum):
    """The priority of work on the accelerator. The value is the engine's scheduling priority: lower goes first."""

    INTERACTIVE = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Decides whether two vectors are comparable. Vectors of different fingerprints never share a collection. Whether
    another engine or release computes the same is measured, not part of it: see retrieval.evaluation.golden_vectors.
    """

    model: str
    """Public name of the model, without any path of the machine."""
    revision: str
    """Hash over the model's configuration and weights' identity, 12 hexadecimal digits."""
    dimension: int
    normalized: bool
    prompt_version: str
    """Version of the texts that retrieval.text.prompts puts around queries and documents."""

    @property
    @lru_cache(maxsize=64)  # noqa: B019  # asked for with every document, and there are few
    def digest(self) -> str:
        """12 hexadecimal digits over all fields, short enough for a collection's name."""
        return sha256(dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors together with the fingerprint of the model that made them."""

    vectors: Vectors
    """float32, shape (texts, dimension), unit length, finite."""
    tokens: tuple[int, ...]
    """Tokens the model saw for each text, prompt and special tokens included."""
    truncated_tokens: tuple[int, ...]
    """Tokens of each text that did not fit the model's window and were cut."""
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class RerankScores:
    scores: tuple[float, ...]
    """One per passage, in the order given, in [0, 1]; higher is more relevant."""
    tokens: int
    """Tokens submitted to the engine for the whole call."""
    truncated_tokens: tuple[int, ...]
    """Tokens of each passage that were cut, always from the passage and never from the prompt around it."""
    truncated_query_tokens: int
    """Tokens cut from the query, where it is longer than its share of the model's window."""
    model: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns the scores of a reranker that was not trained to give probabilities into relevance: a logistic curve that
    was fitted to queries with and without an answer."""

    midpoint: float
    """The score whose relevance is 0.5."""
    width: float
    """Above 0: the smaller, the steeper."""

    def relevance(self, score: float) -> float:
        """Returns the relevance of a passage with this score, in [0, 1]."""
        return 1 / (1 + exp(min((self.midpoint - score) / self.width, 700)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document. `text` is exactly `document_text[start:end]` (offsets in characters)."""

    id: ChunkId
    document_id: DocumentId
    ordinal: int
    text: str
    start: int
    end: int
    tokens: int
    """Of text and header, special tokens not counted."""
    page: int | None = None
    section: tuple[str, ...] = ()
    """Titles of the headings above it, the outermost first."""
    header: str = ""
    """Header of the table among whose rows it begins, without a line end."""
    path: str = ""
    """Its section as the models read it, in one line; empty where they do not."""

    @property
    def full_text(self) -> str:
        """The text as people read it: table rows below their header."""
        return f"{self.header}\n{self.text}" if self.header else self.text


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """One row of the vector store."""

    chunk: Chunk
    vector: Vector
    title: str = ""
    media_type: str = "text/plain"
    partition: str = ""
    """Value of the store's partition key: a tenant, a team; empty where the collection is not divided."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """JSON. Stores leave out keys whose value is null."""
    ingested_at: datetime | None = None
    """Timezone-aware."""
    metadata_keys: Mapping[str, KeyType] = field(default_factory=dict)
    """The declared keys of the collection's CollectionSpec."""
    groups: tuple[str, ...] | None = None
    """Groups whose members may read it; None exactly where the CollectionSpec has no `principals`."""
    language: str = ""
    """Language of the document, as a code of ISO 639; empty if it is not known."""


@dataclass(frozen=True, slots=True)
class StoredText:
    id: ChunkId
    passage: str
    """That was embedded to make the chunk's vector."""


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """The parameters of a physical collection."""

    dimension: int
    metadata_keys: Mapping[str, KeyType] = field(default_factory=dict)
    """Declared: kept in fields of their own, so that filters on them are cheap. See filters/metadata_keys.py."""
    principals: bool = False
    """Whether rows have `groups`, which InGroups compares."""


@dataclass(frozen=True, slots=True)
class StoreCapabilities:
    server: str
    """`milvus-lite` or `milvus`."""
    version: str
    sparse: bool
    """Whether the server computes BM25 itself."""
    sparse_missing: str = ""
    """If `sparse` is False: one sentence that says what the server lacks and what to use instead."""
    several_writers: bool = True
    """Whether several processes may write at the same time."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A result of recall: a chunk as stored, without its vector."""

    chunk: Chunk
    score: float
    """Cosine similarity in [-1, 1] of dense recall, BM25 (above 0, without an upper bound) of sparse recall."""
    title: str
    media_type: str
    partition: str
    metadata: Mapping[str, object]
    ingested_at: datetime | None
    language: str = ""
    """As in EmbeddedChunk; empty also in collections of earlier releases."""


@dataclass(frozen=True, slots=True)
class SelfTestCheck:
    name: str
    passed: bool
    detail: str
    """The measured value, and the required one."""


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    checks: tuple[SelfTestCheck, ...]
    ms: float

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)
