"""TREC measures of what a search returned."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from ir_measures import RR, Measure, R, ScoredDoc, calc, nDCG
from ir_measures.util import Qrel

MEASURES: Mapping[str, Measure] = {"nDCG@10": nDCG @ 10, "Recall@10": R @ 10, "Recall@100": R @ 100, "MRR@10": RR @ 10}
DEPTHS: Mapping[str, int] = {name: measure["cutoff"] for name, measure in MEASURES.items()}
"""Number of documents of a ranking that each measure considers."""


def measure_queries(qrels: Sequence[Qrel], rankings: Mapping[str, Sequence[str]]) -> dict[str, dict[str, float]]:
    """Returns every measure of every query that `qrels` judges. `rankings` holds document ids by query, best first,
    each once; a query without a ranking gets 0 in every measure.
    """
    run = [
        ScoredDoc(query_id, document_id, -float(place))
        for query_id, documents in rankings.items()
        for place, document_id in enumerate(documents)
    ]
    found = {
        (metric.query_id, metric.measure): float(metric.value)
        for metric in calc(list(MEASURES.values()), list(qrels), run).per_query
    }
    queries = dict.fromkeys(qrel.query_id for qrel in qrels)
    return {query: {name: found[query, measured] for name, measured in MEASURES.items()} for query in queries}


def measure(relevant: Mapping[str, Sequence[str]], rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Returns means over the queries for binary relevance. `relevant` holds document ids by query."""
    return means(
        measure_queries([Qrel(query, document, 1) for query, every in relevant.items() for document in every], rankings)
    )


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Returns the mean of each measure over queries. `values` is keyed by query, then by measure, with the same
    measures for every query.
    """
    measures = next(iter(values.values()))
    return {name: fmean(each[name] for each in values.values()) for name in measures}
