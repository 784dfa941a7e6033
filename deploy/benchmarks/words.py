"""Compares the words that BM25 counts now with those of an earlier version, without a node: `python
deploy/benchmarks/words.py FOLDER...`, folders laid out as for `tandem eval`.

BM25 as the stores have it, over title and text. Chinese collections are also measured with their documents written in
traditional characters and the questions as they are.
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from math import log
from pathlib import Path

import numpy as np
import opencc

from retrieval.evaluation.datasets import Dataset, load_dataset
from retrieval.evaluation.metrics import DEPTHS, MEASURES, means, measure_queries
from retrieval.search.language import script_letters
from retrieval.stores.milvus.schema import BM25_B, BM25_K1, WORDS
from retrieval.stores.milvus_lite.child.words import Postings, Words, analyzer_of
from retrieval.text.passages import passage

ENGLISH = [{"type": "stop", "stop_words": ["_english_"]}, {"type": "stemmer", "language": "english"}]
EARLIER = analyzer_of({"tokenizer": "jieba", "filter": ["lowercase", *ENGLISH]})
NOW = analyzer_of({"tokenizer": WORDS})
MEASURED = ("nDCG@10", "Recall@100")


def measure(data: Dataset, analyzer: Words, written: Callable[[str], str] = str) -> list[str]:
    texts = [written(passage(each.title, each.text)) for each in data.passages]
    postings = Postings.of([_packed(analyzer.analyze(text)) for text in texts])
    length = postings.lengths / postings.lengths.mean()
    rankings: dict[str, Sequence[str]] = {}
    for query, text in data.queries.items():
        scores = np.zeros(len(texts))
        for term, weight in Counter(analyzer.analyze_query(text)).items():
            rows, counts = postings.entries(term)
            idf = log((len(texts) - len(rows) + 0.5) / (len(rows) + 0.5) + 1)
            norm = BM25_K1 * (1 - BM25_B + BM25_B * length[rows])
            scores[rows] += weight * idf * counts * (BM25_K1 + 1) / (counts + norm)
        best = np.argsort(-scores, kind="stable")[: max(DEPTHS.values())]
        rankings[query] = [data.passages[row].id for row in best if scores[row] > 0]
    found = means(measure_queries(data.qrels, rankings))
    return [f"{found[name]:.4f}" for name in MEASURES if name in MEASURED]


def _packed(terms: Sequence[int]) -> bytes:
    pairs = sorted(Counter(terms).items())
    return np.array(pairs, dtype=[("term", "<u4"), ("count", "<f4")]).tobytes()


def main(folders: Sequence[str]) -> None:
    print("| Collection | Queries | nDCG@10 before | after | Recall@100 before | after |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for folder in folders:
        data = load_dataset(Path(folder), queries="queries.jsonl")
        forms: dict[str, Callable[[str], str]] = {data.name: str}
        letters = script_letters(each.text for each in data.passages)
        if letters["CJK"] > letters.total() / 2:
            forms[f"{data.name}, traditional documents"] = opencc.OpenCC("s2twp").convert
        for name, written in forms.items():
            before, after = measure(data, EARLIER, written), measure(data, NOW, written)
            cells = [
                name,
                f"{len(data.queries):,}",
                *(cell for pair in zip(before, after, strict=True) for cell in pair),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
