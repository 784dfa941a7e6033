"""Judged collections in BEIR's layout, and TREC metrics over what a search returned for them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ir_measures import RR, Measure, R, ScoredDoc, calc_aggregate, nDCG
from ir_measures.util import Qrel

from retrieval.errors import InvalidRequest
from retrieval.types import Language

MEASURES: Mapping[str, Measure] = {"nDCG@10": nDCG @ 10, "Recall@10": R @ 10, "Recall@100": R @ 100, "MRR@10": RR @ 10}


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class JudgedCollection:
    """`queries` are only those that have judgements."""

    name: str
    language: Language
    """As `meta.json` has it (`lang`), else `mixed`."""
    passages: tuple[Passage, ...]
    queries: Mapping[str, str]
    qrels: tuple[Qrel, ...]


def load_collection(folder: Path, *, queries: str | None = None) -> JudgedCollection:
    """Reads `corpus.jsonl`, `qrels.tsv` (or `qrels/test.tsv`) and queries (default: `queries.small.jsonl`, if any,
    else `queries.jsonl`). Raises InvalidRequest that names the file and the line."""
    if queries is None:
        queries = "queries.small.jsonl" if (folder / "queries.small.jsonl").exists() else "queries.jsonl"
    corpus = _read_lines(folder / "corpus.jsonl")
    passages = tuple(Passage(str(row["_id"]), str(row.get("title", "")), str(row["text"])) for row in corpus)
    judged = folder / "qrels.tsv"
    qrels = tuple(_read_qrels(judged if judged.exists() else folder / "qrels" / "test.tsv"))
    asked = {str(row["_id"]): str(row["text"]) for row in _read_lines(folder / queries)}
    known = {qrel.query_id for qrel in qrels}
    kept = {query_id: text for query_id, text in asked.items() if query_id in known}
    if not passages or not kept:
        raise InvalidRequest(f"{folder}: {len(passages)} passages and {len(kept)} judged queries; both are needed.")
    judgements = tuple(qrel for qrel in qrels if qrel.query_id in kept)
    return JudgedCollection(folder.name, _language(folder), passages, kept, judgements)


def score(collection: JudgedCollection, rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Mean of each measure over the collection's queries. `rankings`: document ids by query, best first, each once;
    a query without a ranking counts as 0."""
    return _means(collection.qrels, rankings)


def measure(relevant: Mapping[str, Sequence[str]], rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The same where all relevant documents are equally so. `relevant`: document ids by query."""
    return _means([Qrel(query, document, 1) for query, every in relevant.items() for document in every], rankings)


def _means(qrels: Sequence[Qrel], rankings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    run = [
        ScoredDoc(query_id, document_id, -float(place))
        for query_id, documents in rankings.items()
        for place, document_id in enumerate(documents)
    ]
    values = calc_aggregate(list(MEASURES.values()), list(qrels), run)
    return {name: float(values[measured]) for name, measured in MEASURES.items()}


def _language(folder: Path) -> Language:
    meta = folder / "meta.json"
    stated = json.loads(meta.read_text(encoding="utf-8")).get("lang") if meta.is_file() else None
    return stated if stated in ("zh", "en") else "mixed"


def _read_lines(path: Path) -> list[dict[str, object]]:
    rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row = json.loads(line)
                if not {"_id", "text"} <= row.keys():
                    raise InvalidRequest(f"{path}, line {number}: needs '_id' and 'text'.")
                rows.append(row)
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read ({error.strerror}).") from error
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"{path}: not JSON lines ({error}).") from error
    return rows


def _read_qrels(path: Path) -> list[Qrel]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines, delimiter="\t"))[1:]
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return [Qrel(query_id, document_id, int(grade)) for query_id, document_id, grade in rows]
    except ValueError as error:
        raise InvalidRequest(f"{path}: wants query id, document id and grade, tab separated ({error}).") from error
