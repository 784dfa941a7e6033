"""The documents and queries of a benchmark: generated texts, or a judged collection repeated.

Every document and every query of a run has its own number and a unique beginning, so that neither the node's reuse of
unchanged chunks nor an engine's prefix cache saves work that is to be measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from app.cli.bench.load.words import QUESTION_WORDS, WORDS
from retrieval.evaluation.datasets import Dataset, load_dataset
from retrieval.types import Language

SENTENCE = 12
"""Words of a made-up one."""
QUESTION = 20
"""Words of a made-up one."""
MORE = 1.1
"""Tokens that a made-up word is thought to have until it has been counted."""


class Corpus(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def language(self) -> Language: ...

    @property
    def size(self) -> int | None:
        """Number of documents after which texts repeat with another beginning; None: unlimited."""
        ...

    def document(self, number: int) -> dict[str, str]:
        """Returns one of `documents` of POST /ingest. The same number gives the same document."""
        ...

    def query(self, number: int) -> str: ...

    def spec(self) -> Mapping[str, object]:
        """Returns the arguments of `corpus_of` in another process."""
        ...


@dataclass(frozen=True, slots=True)
class MadeUpCorpus:
    """Texts of `words` words, drawn from a list."""

    words: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"made up, {self.words} words a text"

    @property
    def language(self) -> Language:
        return "en"

    @property
    def size(self) -> None:
        return None

    def document(self, number: int) -> dict[str, str]:
        words = Random(f"{self.seed} document {number}").choices(WORDS, k=self.words)  # noqa: S311  # no secret
        sentences = [" ".join(words[start : start + SENTENCE]) for start in range(0, self.words, SENTENCE)]
        return {"id": f"d{number}", "title": "", "text": ". ".join(sentences) + "."}

    def query(self, number: int) -> str:
        words = Random(f"{self.seed} query {number}").choices(QUESTION_WORDS, k=QUESTION)  # noqa: S311
        return " ".join(words) + "?"

    def spec(self) -> Mapping[str, object]:
        return {"words": self.words, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class DatasetCorpus:
    """The documents and queries of a folder. When they repeat, a number is put before them."""

    folder: Path
    dataset: Dataset

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def language(self) -> Language:
        return self.dataset.language

    @property
    def size(self) -> int:
        return len(self.dataset.passages)

    def document(self, number: int) -> dict[str, str]:
        turn, place = divmod(number, self.size)
        each = self.dataset.passages[place]
        return {"id": f"{turn}.{each.id}", "title": _marked(each.title, turn) if each.title else "",
                "text": each.text if each.title else _marked(each.text, turn)}  # fmt: skip

    def query(self, number: int) -> str:
        turn, place = divmod(number, len(self.dataset.queries))
        return _marked(list(self.dataset.queries.values())[place], turn)

    def spec(self) -> Mapping[str, object]:
        return {"folder": str(self.folder)}


def corpus_of(spec: Mapping[str, object]) -> Corpus:
    """Returns the corpus. Raises InvalidRequest for a folder that is not a judged collection."""
    if "folder" in spec:
        folder = Path(str(spec["folder"]))
        return DatasetCorpus(folder, load_dataset(folder))
    return MadeUpCorpus(words=int(str(spec["words"])), seed=int(str(spec["seed"])))


def _marked(text: str, turn: int) -> str:
    return f"{turn}. {text}" if turn else text
