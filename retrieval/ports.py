"""The interfaces that the kernel needs. Every implementation passes the contract suite of its port (tests/contract)."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from tokenizers import Tokenizer

from retrieval.filters.tree import Filter
from retrieval.types import (
    Calibration,
    Candidate,
    Chunk,
    ChunkId,
    CollectionSpec,
    DocumentId,
    EmbeddedChunk,
    Embeddings,
    Fingerprint,
    Lane,
    RerankScores,
    StoreCapabilities,
    StoredText,
    StoreName,
    TextKind,
    Vector,
)


class Lifecycle(Protocol):
    """Adapters that own a process or a connection. `close` is safe to call twice and after a failed `start`."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def failure(self) -> str | None:
        """None while healthy; otherwise one sentence for /health/ready. Never blocks."""
        ...


class Embedder(Lifecycle, Protocol):
    @property
    def fingerprint(self) -> Fingerprint: ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, with truncation and padding off. Callers must not change it."""
        ...

    @property
    def max_tokens(self) -> int:
        """Length of the longest document, in tokens without special tokens, that is embedded without truncation."""
        ...

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Returns the tokens of each text, special tokens not counted. Blocks; call it in a thread. Texts that were
        counted recently are not tokenised again when they are embedded by this process. Raises InvalidText.
        """
        ...

    @property
    def reducible(self) -> bool:
        """Whether the first components of its vectors can be used as shorter vectors (Matryoshka)."""
        ...

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """Embeds `texts`, in order. `instruction`: for queries, it is formatted as the model expects; for documents, it
        is put unchanged before each text; None is the model's default for queries and none for documents.

        A text longer than the window is truncated at its end, and the number of tokens is reported; special tokens
        stay. Raises EngineDead (every waiter of a dead engine gets it), EngineFailed (a vector is not finite).
        """
        ...


class Reranker(Lifecycle, Protocol):
    @property
    def model(self) -> str: ...

    @property
    def weight(self) -> float:
        """Share of its scores in the order of hits, in (0, 1], unless the query states one: 1 for a model that was
        trained to rank.
        """
        ...

    @property
    def calibration(self) -> Calibration | None:
        """How its scores become relevance; None if they are it already."""
        ...

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        """Scores every passage against the query. `passages` may be empty. Errors as in `Embedder.embed`."""
        ...


class VectorStore(Lifecycle, Protocol):
    """Stores chunks with their vectors. Names are physical collections or aliases. Methods raise StoreUnavailable
    (away; retry), CollectionNotFound (no such collection) or StoreFailed (refused); methods that write also raise
    StoreFull (nothing was written).
    """

    async def capabilities(self) -> StoreCapabilities: ...

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        """Creates, indexes and loads the collection. Does nothing if `name` exists with this dimension and these
        metadata keys; raises StoreFailed if it exists with others.
        """
        ...

    async def has_sections(self, name: str) -> bool:
        """Whether its rows keep a chunk's section, table header and path. Collections that were made before 0.1.0 do
        not: chunks must be given to them without."""
        ...

    async def drop_collection(self, name: StoreName) -> None:
        """Drops the collection. Does nothing if `name` does not exist."""
        ...

    async def list_collections(self) -> Sequence[StoreName]: ...

    async def point_alias(self, alias: str, name: StoreName) -> None:
        """Creates the alias or moves it."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """Drops the alias. Does nothing if `alias` does not exist."""
        ...

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        """Writes rows by chunk id; the last row of an id wins. Splits into batches itself; `rows` may be empty."""
        ...

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        """Deletes every chunk of each named document whose id is not in its collection of ids to keep (empty: all of
        them).
        """
        ...

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        """Deletes chunks by id; ids that do not exist are ignored."""
        ...

    def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        """Yields pages of all chunks of one document, in no particular order. Read at Strong consistency."""
        ...

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]], *, filter: Filter | None = None
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        """Returns the existing chunks among those named by document and ordinal, for which `filters.evaluate.matches`
        is true.
        """
        ...

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        """Returns the vectors of the existing chunks, exactly as they were written. Read at Strong consistency."""
        ...

    def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        """Yields pages of all chunks, each id once. Read at Strong consistency."""
        ...

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Returns those of `ids` that a search can find now. Read at Strong consistency."""
        ...

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        """Returns the number of chunks of one document, or of the collection. Read at Strong consistency."""
        ...

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        """Returns the nearest chunks by cosine, best first, among those for which `filters.evaluate.matches` is true.
        The declared keys in `filter` are those of the collection. Raises Unsupported for a filter that the server would
        read otherwise.
        """
        ...

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        """Returns the chunks that share words with `text`, best first by BM25, among those that `search` considers.
        Also raises Unsupported if the server has no BM25.
        """
        ...
