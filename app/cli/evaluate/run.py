"""The results of `tandem eval`, and the file that keeps them for later comparisons."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ir_measures.util import Qrel
from pydantic import TypeAdapter, ValidationError

from retrieval.errors import InvalidRequest
from retrieval.evaluation.metrics import DEPTHS, means, measure_queries
from retrieval.search.query import Mode

NAMES: Mapping[Mode, str] = {"sparse": "BM25", "dense": "dense", "hybrid": "hybrid"}
"""Measures in the order of tables and figures, the most common first."""
CLIENT = "client"
"""Name of the time of the whole request, as the client saw it."""
STAGES = ("embed", "recall", "rerank")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of one query."""

    measures: Mapping[str, float]
    ms: Mapping[str, float]
    """CLIENT, and `total` and those of STAGES that the answer reports."""


@dataclass(frozen=True, slots=True)
class Latency:
    median: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Latency":
        every = list(values)
        last = quantiles(every, n=20, method="inclusive")[-1] if len(every) > 1 else every[0]
        return cls(round(median(every), 3), round(last, 3))


@dataclass(frozen=True, slots=True)
class Row:
    """The results of one search mode, a line of the table."""

    mode: Mode
    pool: int | None
    """Candidates that were reranked; None: recall alone."""
    measures: Mapping[str, float]
    """Means over the queries; without those that look deeper than this row's ranking goes."""
    latency_ms: Mapping[str, Latency]
    queries: Mapping[str, QueryResult]

    @classmethod
    def of(cls, mode: Mode, pool: int | None, queries: Mapping[str, QueryResult]) -> "Row":
        times = {stage: Latency.of(each.ms[stage] for each in queries.values()) for stage in _any(queries).ms}
        return cls(mode, pool, means({id_: each.measures for id_, each in queries.items()}), times, queries)

    @classmethod
    def measured(
        cls,
        mode: Mode,
        pool: int | None,
        depth: int,
        qrels: Sequence[Qrel],
        rankings: Mapping[str, Sequence[str]],
        times: Mapping[str, Mapping[str, float]],
    ) -> "Row":
        """Returns the row of rankings that go `depth` documents deep; `rankings` as for `measure_queries`, `times` as
        QueryResult.ms, by query.
        """
        measured = measure_queries(qrels, rankings)
        return cls.of(
            mode,
            pool,
            {
                query_id: QueryResult(
                    {name: value for name, value in measured[query_id].items() if DEPTHS[name] <= depth}, ms
                )
                for query_id, ms in times.items()
            },
        )

    @property
    def name(self) -> str:
        return f"{NAMES[self.mode]} + rerank" if self.pool else NAMES[self.mode]

    def values(self, measure: str) -> dict[str, float]:
        """Returns the values of one measure, by query."""
        return {query_id: result.measures[measure] for query_id, result in self.queries.items()}


@dataclass(frozen=True, slots=True)
class CollectionRun:
    """The results on one judged collection, with its description and the models that answered."""

    name: str
    digest: str
    """Digest of documents, queries and judgements."""
    language: str
    documents: int
    left_out: int
    chunks: int
    judgements: int
    models: Mapping[str, str]
    """`embed` and `rerank`, as the answers name them."""
    fingerprint: Mapping[str, Any]
    """Fingerprint of the vectors, as the node reports it: model, revision, engine…"""
    chunking: Mapping[str, Any]
    store: str | None
    no_bm25: str | None
    """Why the rows that need it are not there."""
    ingest_seconds: float
    rows: tuple[Row, ...]
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of the queries by id; empty in files of earlier releases."""
    searched: str | None = None
    """The existing collection that was searched; None: one that was filled for the run and deleted after it."""

    @property
    def queries(self) -> int:
        return len(self.rows[0].queries)


@dataclass(frozen=True, slots=True)
class Run:
    tandem: str
    """Version of the command line."""
    candidates: int
    """Pool of the reranked rows."""
    collections: tuple[CollectionRun, ...]
    variants: bool = False
    """Whether each query was sent with machine-made variants."""


_FILE = TypeAdapter(Run)


def save(run: Run, path: Path) -> None:
    path.write_bytes(_FILE.dump_json(run, indent=1))


def record(run: Run) -> Any:
    """Returns the run as `save` writes it."""
    return _FILE.dump_python(run, mode="json")


def load(path: Path) -> Run:
    """Reads a run. Raises InvalidRequest if the file is not one."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read ({error.strerror}).") from error
    return parse(raw, str(path))


def parse(raw: bytes, name: str) -> Run:
    """Parses the content of a file, which errors call `name`. Raises InvalidRequest if it is not a run."""
    try:
        return _FILE.validate_json(raw)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise InvalidRequest(f"{name}: not a file of `tandem eval --json` ({place}: {wrong['msg']}).") from error


def _any(queries: Mapping[str, QueryResult]) -> QueryResult:
    return next(iter(queries.values()))
