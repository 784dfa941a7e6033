"""Compares collections with and without section prefix on a running node: `python deploy/benchmarks/sections URL FOLDER
QUESTIONS... [--tokens 512,128] [--candidates 20]`.

FOLDER holds the documents, with headings. QUESTIONS are files of JSON lines, `{"question", "answer"}`: a question in
other words than the headings, and a phrase of the one passage that answers it. A hit is relevant if its text holds the
phrase, whatever its section is called; with one relevant passage per question nDCG@10 is 1 / log2(1 + its rank). p: the
two-sided paired randomisation test of `tandem eval`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import uuid4

import httpx

from retrieval.evaluation.significance import randomisation_p

TOP_K = 10


def ways(candidates: int) -> Mapping[str, Mapping[str, object]]:
    """Returns the fields of the searches by their names."""
    return {
        "BM25": {"mode": "sparse", "rerank": False},
        "vectors": {"mode": "dense", "rerank": False},
        "hybrid": {"mode": "hybrid", "rerank": False},
        f"hybrid, {candidates} reranked": {"mode": "hybrid", "rerank": "required", "candidates": candidates},
    }


def read_questions(files: Sequence[Path], documents: Mapping[str, str]) -> list[tuple[str, str]]:
    """Raises SystemExit for a phrase that is not in one document alone."""
    found: list[tuple[str, str]] = []
    for file in files:
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            holders = [name for name, text in documents.items() if entry["answer"] in text]
            if len(holders) != 1:
                sys.exit(f"{file}: {entry['answer']!r} is in {holders or 'no document'}; it has to be in one.")
            found.append((entry["question"], entry["answer"]))
    return found


def filled(client: httpx.Client, documents: Mapping[str, str], max_tokens: int, *, prefix: bool) -> str:
    """Returns the name of a new collection that holds the documents."""
    name = f"sections_{uuid4().hex[:8]}"
    chunking = {"max_tokens": max_tokens, "overlap": max_tokens // 8}
    _post(client, "/collections", {"name": name, "chunking": chunking, "section_prefix": prefix})
    bodies = [{"id": each, "text": text, "media_type": "text/markdown"} for each, text in documents.items()]
    job = _post(client, "/ingest", {"collection": name, "documents": bodies, "wait": True})
    if job["state"] != "succeeded":
        sys.exit(f"The ingestion ended as {job['state']}.")
    return name


def gains(client: httpx.Client, name: str, questions: Sequence[tuple[str, str]], way: Mapping[str, Any]) -> list[float]:
    """Returns nDCG@10 of each question."""
    found = []
    for question, phrase in questions:
        hits = _post(client, "/search", {"query": question, "collection": name, "top_k": TOP_K, **way})["hits"]
        rank = next((rank for rank, hit in enumerate(hits, 1) if phrase in hit["text"]), 0)
        found.append(1 / log2(1 + rank) if rank else 0.0)
    return found


def _post(client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = client.post(path, json=body)
    if answer.is_error:
        sys.exit(f"{path}: {answer.text}")
    return dict(answer.json())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("questions", type=Path, nargs="+")
    parser.add_argument("--tokens", default="512,128", help="sizes of chunks; overlap is an eighth")
    parser.add_argument("--candidates", type=int, default=20, help="candidates to rerank")
    arguments = parser.parse_args()
    documents = {path.name: path.read_text() for path in sorted(arguments.folder.glob("*.md"))}
    questions = read_questions(arguments.questions, documents)
    print(f"{len(documents)} documents, {len(questions)} questions")  # noqa: T201
    print("| Chunks, search | nDCG@10 without | with | better, worse | p |")  # noqa: T201
    print("| --- | --- | --- | --- | --- |")  # noqa: T201
    with httpx.Client(base_url=arguments.url, timeout=700) as client, ExitStack() as stack:
        for max_tokens in map(int, arguments.tokens.split(",")):
            names = [filled(client, documents, max_tokens, prefix=prefix) for prefix in (False, True)]
            for name in names:
                stack.callback(client.delete, f"/collections/{name}")
            for way, fields in ways(arguments.candidates).items():
                without, with_ = (gains(client, name, questions, fields) for name in names)
                changes = [after - before for before, after in zip(without, with_, strict=True)]
                better, worse = sum(each > 0 for each in changes), sum(each < 0 for each in changes)
                print(  # noqa: T201
                    f"| {max_tokens}, {way} | {fmean(without):.3f} | {fmean(with_):.3f} | {better}, {worse} | "
                    f"{randomisation_p(changes):.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
