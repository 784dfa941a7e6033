"""Runs of `tandem eval` made up for tests."""

from collections.abc import Sequence

from app.cli.evaluate.run import CollectionRun, QueryResult, Row, Run
from retrieval.search.query import Mode

MODES: tuple[Mode, ...] = ("sparse", "dense", "hybrid")


def row(mode: Mode, pool: int | None, values: Sequence[float], *, first: int = 0) -> Row:
    """`values`: of every measure, by query; the queries are numbered from `first`."""
    names = ["nDCG@10", "Recall@10", "MRR@10", *([] if pool else ["Recall@100"])]
    times = {"client": 20.0, "total": 18.0, "recall": 4.0}
    times |= {"embed": 7.5} if mode != "sparse" else {}
    times |= {"rerank": 300.0} if pool else {}
    return Row.of(
        mode,
        pool,
        {
            f"q{number}": QueryResult(
                dict.fromkeys(names, value), {stage: ms + number - first for stage, ms in times.items()}
            )
            for number, value in enumerate(values, start=first)
        },
    )


def collection(
    *rows: Row, name: str = "ships", digest: str = "same", reranker: str = "judge", no_bm25: str | None = None
) -> CollectionRun:
    return CollectionRun(
        name=name,
        digest=digest,
        language="en",
        documents=1372,
        left_out=0,
        chunks=1400,
        judgements=12,
        models={"embed": "eye", "rerank": reranker},
        fingerprint={"model": "eye", "dimension": 8, "digest": "0"},
        chunking={"max_tokens": 512, "overlap": 64},
        store="milvus-lite 3.2",
        no_bm25=no_bm25,
        ingest_seconds=1.5,
        rows=rows,
    )


def run(*collections: CollectionRun, candidates: int = 50) -> Run:
    return Run("0.1.0", candidates, collections)


def full_run(*names: str) -> Run:
    """Three modes, without and with reranking, in every collection."""
    rows = [row(mode, pool, (0.4, 0.7, 0.9)) for mode in MODES for pool in (None, 50)]
    return run(*(collection(*rows, name=name) for name in names))
