"""tandem bench groups: the time that groups add to recall in a collection with principals, and what recall finds."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.table import Table

from app.cli.bench.measures import percentile
from app.cli.exit_codes import print_json
from app.settings import Settings
from app.wiring.components import build_store
from retrieval.filters.tree import InGroups
from retrieval.ports import VectorStore
from retrieval.types import Chunk, ChunkId, CollectionSpec, DocumentId, EmbeddedChunk, StoreName, Vector

DIMENSION = 1024
LIMIT = 100
"""Chunks that a search brings."""
GROUPS_A_CHUNK = 4
WORDS, WORDS_A_CHUNK, WORDS_A_QUERY = 5_000, 60, 5
BATCH = 500
WARM_UP = 20
"""Searches of each kind that are not counted."""
CALLERS = (1, 20)
"""Groups of a caller, besides all of them."""
TOPICS = 200
"""Points that vectors lie around, as those of texts about the same things do."""
SEED = 1


def bench_groups(
    settings: Settings, console: Console, *, chunks: int, groups: int, requests: int, as_json: bool = False
) -> None:
    """Prints milliseconds per search by vectors, and by words where the server has BM25: of callers with groups, beside
    one without. The searches take turns, so that other work on the machine meets all alike. Milvus Lite in a temporary
    folder, or the server of TANDEM_MILVUS_URI, where the collection is dropped in the end.
    """
    with TemporaryDirectory(prefix="tandem-bench-") as folder:
        if settings.milvus_uri is None:
            settings = settings.model_copy(update={"data_dir": Path(folder)})
        server, measured = asyncio.run(_measure(build_store(settings), chunks, groups, requests))
    figures = {
        name: {
            "median_ms": percentile(each.times, 0.5),
            "p99_ms": percentile(each.times, 0.99),
            "found": float(np.mean(each.found)),
            "readable": float(np.mean(each.readable)),
            "recall": float(np.mean(each.recalls)) if each.recalls else None,
        }
        for name, each in measured.items()
    }
    if as_json:
        print_json({"store": server, "chunks": chunks, "groups": groups, "requests": requests, "searches": figures})
        return
    table = Table(title=f"{server}: {chunks:,} chunks, {groups:,} groups, {requests:,} searches of each kind")
    for column in ("search", "median, ms", "99 %, ms", "chunks found", f"of, up to {LIMIT}", "of the nearest"):
        table.add_column(column, justify="left" if column == "search" else "right")
    for name, each in figures.items():
        recall = "-" if each["recall"] is None else f"{each['recall']:.1%}"
        found = (f"{each['found']:.1f}", f"{each['readable']:.1f}", recall)
        table.add_row(name, f"{each['median_ms']:.1f}", f"{each['p99_ms']:.1f}", *found)
    console.print(table)


@dataclass(slots=True)
class Searches:
    """Searches of one kind, in their order."""

    times: list[float] = field(default_factory=list)
    """Milliseconds."""
    found: list[int] = field(default_factory=list)
    """Chunks."""
    readable: list[int] = field(default_factory=list)
    """Chunks that the caller may read, at most LIMIT."""
    recalls: list[float] = field(default_factory=list)
    """Of as many chunks as are readable, those nearest to the query: the share that was found. Only by vectors."""


async def _measure(store: VectorStore, chunks: int, groups: int, requests: int) -> tuple[str, Mapping[str, Searches]]:
    """Returns the server, and the searches by their kind."""
    random = np.random.default_rng(SEED)
    name = StoreName(f"bench_groups_{token_hex(4)}")
    await store.start()
    try:
        await store.create_collection(name, CollectionSpec(DIMENSION, principals=True))
        topics = random.standard_normal((TOPICS, DIMENSION), dtype=np.float32)
        vectors = np.empty((chunks, DIMENSION), dtype=np.float32)
        readers: dict[str, list[int]] = defaultdict(list)
        for first in range(0, chunks, BATCH):
            rows = [_row(random, number, groups, topics) for number in range(first, min(first + BATCH, chunks))]
            for number, row in enumerate(rows, first):
                vectors[number] = row.vector
                for group in row.groups or ():
                    readers[group].append(number)
            await store.upsert(name, rows)
        assert await store.count(name) == chunks
        capabilities = await store.capabilities()
        counts = dict.fromkeys((*(count for count in CALLERS if count < groups), groups))
        kinds: dict[str, tuple[bool, int]] = {}
        for words in (False, True) if capabilities.sparse else (False,):
            by = "words" if words else "vectors"
            kinds[f"by {by}, without groups"] = words, 0
            kinds |= {f"by {by}, groups of the caller: {count:,}": (words, count) for count in counts}
        measured = {kind: Searches() for kind in kinds}
        for turn in range(WARM_UP + requests):
            vector, text = _vector(random, topics), _text(random, WORDS_A_QUERY)
            similarities = vectors @ vector
            for kind, (words, count) in kinds.items():
                names = _some(random, groups, count)
                filter = InGroups(names) if count else None
                started = perf_counter()
                if words:
                    hits = await store.search_text(name, text, limit=LIMIT, filter=filter)
                else:
                    hits = await store.search(name, vector, limit=LIMIT, filter=filter)
                ended = perf_counter()
                if turn < WARM_UP:
                    continue
                each = measured[kind]
                each.times.append((ended - started) * 1000)
                each.found.append(len(hits))
                read = np.unique([number for group in names for number in readers[group]] if count else range(chunks))
                each.readable.append(min(len(read), LIMIT))
                if not words and len(read):
                    nearest = read[np.argsort(-similarities[read])[:LIMIT]]
                    ids = {int(hit.chunk.id, 16) for hit in hits}
                    each.recalls.append(len(ids.intersection(nearest.tolist())) / len(nearest))
        return f"{capabilities.server} {capabilities.version}", measured
    finally:
        await store.drop_collection(name)
        await store.close()


def _row(random: np.random.Generator, number: int, groups: int, topics: Vector) -> EmbeddedChunk:
    text = _text(random, WORDS_A_CHUNK)
    document = DocumentId(f"document {number}")
    chunk = Chunk(ChunkId(f"{number:032x}"), document, 0, text, 0, len(text), WORDS_A_CHUNK)
    return EmbeddedChunk(chunk, _vector(random, topics), groups=_some(random, groups, min(GROUPS_A_CHUNK, groups)))


def _vector(random: np.random.Generator, topics: Vector) -> Vector:
    """Returns a vector of unit length; two of one topic have a cosine of about 0.5."""
    vector: Vector = topics[random.integers(len(topics))] + random.standard_normal(DIMENSION, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def _text(random: np.random.Generator, words: int) -> str:
    return " ".join(f"word{number}" for number in random.integers(WORDS, size=words))


def _some(random: np.random.Generator, groups: int, count: int) -> tuple[str, ...]:
    return tuple(f"group {number}" for number in sorted(random.choice(groups, size=count, replace=False)))
