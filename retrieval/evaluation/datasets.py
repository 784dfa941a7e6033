"""Judged collections in BEIR's layout: documents, queries, and which documents answer which query."""

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ir_measures.util import Qrel

from retrieval.errors import InvalidRequest
from retrieval.types import Language


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str
    """Never blank: where the file has only a title, the title."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A judged collection. `queries` holds only those with a relevant document, `qrels` only the judgements of these
    queries.
    """

    name: str
    language: Language
    """The `lang` of `meta.json`, else `mixed`."""
    passages: tuple[Passage, ...]
    left_out: int
    """Documents with neither text nor title. A query that wants one of them does not find it."""
    queries: Mapping[str, str]
    qrels: tuple[Qrel, ...]

    def digest(self) -> str:
        """A digest that is equal for the same documents, queries and judgements in the same order."""
        content = [
            [[each.id, each.title, each.text] for each in self.passages],
            list(self.queries.items()),
            [[qrel.query_id, qrel.doc_id, qrel.relevance] for qrel in self.qrels],
        ]
        return sha256(json.dumps(content).encode()).hexdigest()


def load_dataset(folder: Path, *, queries: str | None = None) -> Dataset:
    """Reads `corpus.jsonl`, `qrels.tsv` (or `qrels/test.tsv`) and queries (default: `queries.small.jsonl`, if any, else
    `queries.jsonl`). Grades above 0 are relevant, and nDCG uses a grade as its gain.

    Raises InvalidRequest, which names the file and, if there is one, the line: for malformed files, duplicate ids,
    queries without text, and judgements of documents that are not in the corpus.
    """
    if queries is None:
        queries = "queries.small.jsonl" if (folder / "queries.small.jsonl").exists() else "queries.jsonl"
    corpus, queries_path = folder / "corpus.jsonl", folder / queries
    documents = list(_read_texts(corpus, blank=True))
    passages = tuple(each for each in documents if each.text)
    if not passages:
        raise InvalidRequest(f"{corpus}: holds no document with text.")
    texts = {each.id: each.text for each in _read_texts(queries_path, blank=False)}
    qrels_path = folder / "qrels.tsv"
    qrels_path = qrels_path if qrels_path.exists() else folder / "qrels" / "test.tsv"
    qrels = list(_read_qrels(qrels_path, known={each.id for each in documents}, selected=texts.keys()))
    answered = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
    if not answered:
        raise InvalidRequest(f"{qrels_path}: has no relevant document for any query of {queries_path}.")
    return Dataset(
        name=folder.resolve().name,
        language=_language(folder / "meta.json"),
        passages=passages,
        left_out=len(documents) - len(passages),
        queries={query_id: text for query_id, text in texts.items() if query_id in answered},
        qrels=tuple(qrel for qrel in qrels if qrel.query_id in answered),
    )


def _language(meta: Path) -> Language:
    if not meta.is_file():
        return "mixed"
    try:
        stated = json.loads("".join(line for _, line in _lines(meta))).get("lang")
    except (json.JSONDecodeError, AttributeError) as error:
        raise InvalidRequest(f"{meta}: not a JSON object.") from error
    return stated if stated in ("zh", "en") else "mixed"


def _read_texts(path: Path, *, blank: bool) -> Iterator[Passage]:
    """Yields documents, or queries, which have no title. `blank` says whether the text may be missing."""
    first: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidRequest(f"{path}, line {number}: not JSON ({error}).") from error
        if not isinstance(row, dict) or not {"_id", "text"} <= row.keys():
            raise InvalidRequest(f"{path}, line {number}: needs '_id' and 'text'.")
        id_, title, text = str(row["_id"]), str(row.get("title") or ""), str(row["text"] or "")
        if first.setdefault(id_, number) != number:
            raise InvalidRequest(f"{path}, line {number}: the id {id_!r} is already in line {first[id_]}.")
        passage = Passage(id_, title, text) if text.strip() else Passage(id_, "", title.strip())
        if not passage.text and not blank:
            raise InvalidRequest(f"{path}, line {number}: {id_!r} has no text.")
        yield passage


def _read_qrels(path: Path, *, known: Container[str], selected: Container[str]) -> Iterator[Qrel]:
    """Yields the judgements of `selected` queries: a folder may hold a part of the queries, and judgements of all."""
    first: dict[tuple[str, str], int] = {}
    for number, line in _lines(path):
        try:
            query_id, document_id, grade = line.split("\t")
            qrel = Qrel(query_id, document_id, int(grade))
        except ValueError as error:
            if number == 1 and line.count("\t") == 2:
                continue  # the header
            raise InvalidRequest(
                f"{path}, line {number}: expected query id, document id and an integer grade, tab separated."
            ) from error
        if query_id not in selected:
            continue
        if document_id not in known:
            raise InvalidRequest(f"{path}, line {number}: the corpus has no document {document_id!r}.")
        if first.setdefault((query_id, document_id), number) != number:
            earlier = first[query_id, document_id]
            raise InvalidRequest(f"{path}, line {number}: the same query and document are already in line {earlier}.")
        yield qrel


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, with their numbers from 1 and without their line endings."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise InvalidRequest(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path}: not UTF-8 ({error.reason}).") from error
