"""What the kernel needs from outside. Every implementation passes the contract suite of its port (tests/contract)."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Protocol

from tokenizers import Tokenizer

from retrieval.filters.tree import Filter
from retrieval.types import (
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
        """The model's own tokenizer, with truncation and padding off. Not to be changed."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest document in tokens, special tokens not counted, that is embedded without a cut."""
        ...

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Tokens of each text, special tokens not counted. Blocks; for threads. What was counted a moment ago is
        embedded without being tokenised again, where this process does that. Raises InvalidText."""
        ...

    @property
    def reducible(self) -> bool:
        """Whether the first components of its vectors are vectors of their own (Matryoshka)."""
        ...

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """Embeds `texts`, in order. `instruction`: for queries in the model's format, or else put before each text as
        it is; None: the model's default for queries, nothing for documents.

        A text longer than the window is cut at its end and reported, special tokens stay.
        Raises EngineDead (every waiter of a dead engine gets it), EngineFailed (a vector is not finite).
        """
        ...


class Reranker(Lifecycle, Protocol):
    @property
    def model(self) -> str: ...

    @property
    def weight(self) -> float:
        """Share of its scores in the order of hits, in (0, 1], unless the query says otherwise: 1 for a model that was
        trained to rank."""
        ...

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        """Scores every passage against the query. `passages` may be empty. Errors as in `Embedder.embed`."""
        ...


class VectorStore(Lifecycle, Protocol):
    """Names are physical collections or aliases. Methods raise StoreUnavailable (away; retry), CollectionNotFound
    (no such collection) or StoreFailed (refused); those that write, StoreFull (nothing was written)."""

    async def capabilities(self) -> StoreCapabilities: ...

    async def create_collection(self, name: StoreName, spec: CollectionSpec) -> None:
        """Creates, indexes and loads. Does nothing where `name` exists with this dimension and these metadata keys;
        StoreFailed otherwise."""
        ...

    async def drop_collection(self, name: StoreName) -> None:
        """Does nothing where `name` does not exist."""
        ...

    async def list_collections(self) -> Sequence[StoreName]: ...

    async def point_alias(self, alias: str, name: StoreName) -> None:
        """Creates the alias or moves it."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """Does nothing where `alias` does not exist."""
        ...

    async def upsert(self, name: str, rows: Sequence[EmbeddedChunk]) -> None:
        """Writes rows by chunk id; of the same id the last one stays. Batched inside; `rows` may be empty."""
        ...

    async def prune(self, name: str, keep: Mapping[DocumentId, Collection[ChunkId]]) -> None:
        """For each document named, deletes every chunk whose id is not kept (an empty collection: all of them)."""
        ...

    async def delete(self, name: str, ids: Sequence[ChunkId]) -> None:
        """Deletes chunks by id; those that are not there are no error."""
        ...

    def texts(self, name: str, document_id: DocumentId) -> AsyncIterator[Sequence[StoredText]]:
        """Pages of all chunks of one document, in no particular order. Read at Strong consistency."""
        ...

    async def chunks(
        self, name: str, wanted: Mapping[DocumentId, Collection[int]]
    ) -> Mapping[tuple[DocumentId, int], Chunk]:
        """Of the chunks named by document and ordinal, those that are there."""
        ...

    async def vectors(self, name: str, ids: Sequence[ChunkId]) -> Mapping[ChunkId, Vector]:
        """Of those chunks that are there, exactly as they were written. Read at Strong consistency."""
        ...

    def every(self, name: str) -> AsyncIterator[Sequence[tuple[ChunkId, DocumentId]]]:
        """Pages of all chunks, each id once. Read at Strong consistency."""
        ...

    async def present(self, name: str, ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Which of `ids` a search can find now. Read at Strong consistency."""
        ...

    async def count(self, name: str, document_id: DocumentId | None = None) -> int:
        """Chunks of one document, or of the collection. Read at Strong consistency."""
        ...

    async def search(
        self, name: str, vector: Vector, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        """Nearest chunks by cosine, best first, of those for which `filter_matching.matches` is true. The declared keys
        in `filter` are those of the collection. Raises Unsupported for a filter that the server would read otherwise.
        """
        ...

    async def search_text(
        self, name: str, text: str, *, limit: int, partition: str | None = None, filter: Filter | None = None
    ) -> Sequence[Candidate]:
        """Chunks that share words with `text`, best first by BM25; of those that `search` would look at. Raises
        Unsupported as well where the server has no BM25."""
        ...
