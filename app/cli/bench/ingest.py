"""tandem bench ingest: measures how fast documents become searchable, compared with the bare engine on the
same chunks.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from app import ROOT
from app.cli.bench.load.corpus import Corpus
from app.cli.bench.measures import Point, rates
from app.cli.bench.node import MeasuredNode
from app.settings import Settings
from app.wiring.models import build_profile, engine_options, model_hub
from ingestion.pipeline.document_chunks import chunk_document
from ingestion.types import Document, ParsedDocument
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.errors import ConfigurationError
from retrieval.text.passages import passage, passage_of
from retrieval.text.prompts import EmbeddingPrompts
from retrieval.types import DocumentId, Lane, TokenIds

WARM_UP = 64
"""Documents that go through first and are not counted."""
LANGCHAIN_QUERIES = 100


@dataclass(frozen=True, slots=True)
class ServiceRound:
    seconds: float
    """Time from the first byte sent to the last receipt."""
    tokens: int
    chunks: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class IngestBench:
    texts: int
    service: tuple[ServiceRound, ...]
    bare: tuple[float, ...] | None
    """Seconds of each round; None where it was not measured."""
    bare_tokens: int | None
    """Tokens of a round, special tokens included."""
    langchain: dict[str, float] | None

    @property
    def ratio(self) -> float | None:
        """The service's rate as a share of the bare engine's: median over the rounds."""
        if self.bare is None:
            return None
        return round(median(bare / each.seconds for bare, each in zip(self.bare, self.service, strict=True)), 3)

    def to_json(self) -> dict[str, object]:
        return {
            "texts": self.texts,
            "ingest_seconds": {"bare_engine": self.bare, "service": [each.seconds for each in self.service]},
            "tokens": {"bare_engine": self.bare_tokens, "service": [each.tokens for each in self.service]},
            "chunks": [each.chunks for each in self.service],
            "share_of_bare_engine": self.ratio,
            "documents_per_second": [[rate for _, rate in seconds_of(each)] for each in self.service],
            "langchain": self.langchain,
        }


def measure_ingest(
    node: MeasuredNode, corpus: Corpus, *, texts: int, rounds: int, bare: bool, langchain: bool, console: Console
) -> IngestBench:
    """Measures rounds of new texts. With `bare`, the bare engine runs in alternation with the service, so that both
    meet the same conditions. Raises FeedingFailed, NodeUnreachable, Refused, ConfigurationError.
    """
    settings = _own_settings(node) if bare or langchain else None
    node.fill(node.new_collection(corpus), corpus, WARM_UP)
    first = [node.new_documents(texts) for _ in range(rounds)]
    if bare and settings:
        service, alone, tokens = asyncio.run(_in_turn(settings, node, corpus, first, texts, console))
    else:
        alone, tokens = None, None
        service = []
        for number, start in enumerate(first, start=1):
            service.append(_serve(node, corpus, start, texts))
            console.print(f"Round {number}: service {service[-1].seconds:.2f} s", markup=False)
    other = _langchain(settings, corpus, first[0], texts, console) if langchain and settings else None
    return IngestBench(texts, tuple(service), alone, tokens, other)


def show_ingest(bench: IngestBench, corpus: Corpus, console: Console) -> None:
    table = Table(title=f"{corpus.name}: {bench.texts:,} texts; median of the rounds, spread in brackets")
    for column in ("ingestion", "seconds", "texts/s", "tokens/s", "against the bare engine"):
        table.add_column(column, justify="left" if column == "ingestion" else "right")
    if bench.bare and bench.bare_tokens:
        _add(table, bench, "bare engine, embedding alone", bench.bare, bench.bare_tokens)
    seconds = [each.seconds for each in bench.service]
    _add(table, bench, "POST /ingest until every receipt", seconds, median(each.tokens for each in bench.service))
    if bench.langchain:
        _add(table, bench, "LangChain: HuggingFaceEmbeddings, Milvus Lite", [bench.langchain["ingest_seconds"]], None)
    console.print(table)
    if bench.ratio is not None:
        console.print(f"The service reaches {bench.ratio:.2f} times the bare engine's rate.", markup=False)
    if bench.langchain:
        faster = bench.langchain["ingest_seconds"] / median(seconds)
        console.print(f"Ingestion is {faster:.1f} times as fast as LangChain's usual way.", markup=False)


def seconds_of(each: ServiceRound) -> list[tuple[float, float]]:
    """Returns documents per second, second by second."""
    return rates(each.points, each.points[0].at, each.points[-1].at)


def _serve(node: MeasuredNode, corpus: Corpus, first: int, texts: int) -> ServiceRound:
    with node.feeding(node.new_collection(corpus), corpus, first=first, count=texts) as feeder:
        feeder.wait()
    points = feeder.points
    seconds = round(points[-1].at - points[0].at, 4)
    return ServiceRound(seconds, points[-1].tokens, points[-1].chunks, tuple(points))


async def _in_turn(
    settings: Settings, node: MeasuredNode, corpus: Corpus, first: Sequence[int], texts: int, console: Console
) -> tuple[list[ServiceRound], tuple[float, ...], int]:
    """Alternates both. The bare engine gets every chunk's token ids at once; the node is idle meanwhile."""
    chosen = build_profile(settings)
    folder = await model_hub(settings).resolve(chosen.embed.id)
    options = engine_options(settings, chosen.embed, folder, settings.embed_memory_share)
    embedder = VllmEmbedder(options)
    console.print("Starting the bare engine")
    await embedder.start()
    service: list[ServiceRound] = []
    bare: list[float] = []
    tokens: list[int] = []
    try:
        warm_up = _prompts(embedder, options.max_model_len, corpus, node.new_documents(WARM_UP), WARM_UP)
        await embedder.engine.encode(warm_up, lane=Lane.BULK)
        for number, start in enumerate(first, start=1):
            prompts = await asyncio.to_thread(_prompts, embedder, options.max_model_len, corpus, start, texts)
            started = perf_counter()
            await embedder.engine.encode(prompts, lane=Lane.BULK)
            bare.append(round(perf_counter() - started, 4))
            tokens.append(sum(len(ids) for ids in prompts))
            service.append(await asyncio.to_thread(_serve, node, corpus, start, texts))
            console.print(
                f"Round {number}: bare engine {bare[-1]:.2f} s, service {service[-1].seconds:.2f} s", markup=False
            )
    finally:
        await embedder.close()
    return service, tuple(bare), round(median(tokens))


def _prompts(embedder: VllmEmbedder, max_model_len: int, corpus: Corpus, first: int, texts: int) -> list[TokenIds]:
    """Returns the token ids of the same chunks that the service makes of these documents."""
    chunks = []
    for number in range(first, first + texts):
        each = corpus.document(number)
        document = Document(
            collection="", id=DocumentId(each["id"]), sha256="", size=0, media_type="text/plain", title=each["title"]
        )
        chunked = chunk_document(document, ParsedDocument(each["text"], "text/plain"), embedder)
        chunks += [passage_of(chunked.title, chunk) for chunk in chunked.chunks()]
    prompts = EmbeddingPrompts(embedder.tokenizer, max_model_len=max_model_len, query_format="plain")
    return [prompt.ids for prompt in prompts.build(chunks, "document")]


def _langchain(settings: Settings, corpus: Corpus, first: int, texts: int, console: Console) -> dict[str, float]:
    """Measures LangChain in a separate process, so that the threads and imports of neither side affect the other."""
    if find_spec("langchain_milvus") is None:
        raise ConfigurationError("LangChain is not installed: use the development set-up, or omit --langchain.")
    console.print("LangChain's usual way with the same model")
    folder = asyncio.run(model_hub(settings).resolve(build_profile(settings).embed.id))
    documents = [corpus.document(number) for number in range(first, first + texts)]
    work = {
        "model": str(folder),
        "texts": [passage(each["title"], each["text"]) for each in documents],
        "queries": [corpus.query(number) for number in range(LANGCHAIN_QUERIES)],
    }
    done = subprocess.run(  # our own program with fixed arguments
        [sys.executable, "-m", "app.cli.bench.peers.langchain_way"],
        cwd=ROOT,
        input=json.dumps(work).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _own_settings(node: MeasuredNode) -> Settings:
    """Returns the settings of the command's own node. Raises ConfigurationError if there are none, or no engine."""
    if node.settings is None or node.settings.engine != "vllm":
        raise ConfigurationError(
            "The bare engine and LangChain are measured with a node that the command starts, with TANDEM_ENGINE=vllm: "
            "omit --url, or pass --no-bare."
        )
    return node.settings


def _add(table: Table, bench: IngestBench, what: str, seconds: Sequence[float], tokens: float | None) -> None:
    middle = median(seconds)
    spread = f" ({min(seconds):.1f} to {max(seconds):.1f})" if len(seconds) > 1 else ""
    table.add_row(
        what,
        f"{middle:.1f}{spread}",
        f"{bench.texts / middle:,.0f}",
        "" if tokens is None else f"{tokens / middle:,.0f}",
        f"{middle / median(bench.bare):.2f}" if bench.bare else "",
    )


def by_round(bench: IngestBench) -> dict[str, Any]:
    """Returns the data of the figure: the rates of the first and the last round."""
    rounds = {"first round": bench.service[0], "last round": bench.service[-1]}
    return {label: seconds_of(each) for label, each in rounds.items()}
