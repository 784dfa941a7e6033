"""Judged collections of the page: the judgements of a browser, and archives in BEIR's layout, written and read."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final

from ir_measures.util import Qrel
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.http.schemas.wire import CollectionName, FilledId, FilledText
from retrieval.errors import InvalidRequest
from retrieval.evaluation.datasets import Dataset, load_dataset

MAX_JUDGEMENTS: Final = 2000
MAX_UNPACKED_BYTES: Final = 64 * 2**20
CORPUS: Final = "corpus.jsonl"
READ: Final = (CORPUS, "queries.jsonl", "queries.small.jsonl", "qrels.tsv", "qrels/test.tsv", "meta.json")
"""Members of an archive that are read."""


class Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    query: FilledText = Field(max_length=2000)
    document_id: FilledId
    relevant: bool


class Judgements(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    collection: CollectionName
    judgements: list[Judgement] = Field(min_length=1, max_length=MAX_JUDGEMENTS)

    @classmethod
    def parse(cls, text: str) -> "Judgements":
        """Reads the field of a form. Raises InvalidRequest."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[0]
            raise InvalidRequest(f"judgements: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from None

    @property
    def queries(self) -> Mapping[str, str]:
        """Texts of the queries by id."""
        texts = dict.fromkeys(each.query for each in self.judgements)
        return {f"q{number}": text for number, text in enumerate(texts, 1)}

    @property
    def qrels(self) -> Sequence[Qrel]:
        """The last judgement of a pair wins."""
        ids = {text: id_ for id_, text in self.queries.items()}
        grades = {(ids[each.query], each.document_id): int(each.relevant) for each in self.judgements}
        return [Qrel(query_id, document_id, grade) for (query_id, document_id), grade in grades.items()]

    def dataset(self) -> Dataset:
        """Returns the judgements as a judged collection without its documents. Raises InvalidRequest if none says that
        a document is relevant.
        """
        qrels = self.qrels
        answered = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
        if not answered:
            raise InvalidRequest("No hit is marked as relevant: mark at least one, then evaluate.")
        queries = {id_: text for id_, text in self.queries.items() if id_ in answered}
        kept = tuple(qrel for qrel in qrels if qrel.query_id in answered)
        return Dataset(self.collection, "mixed", (), 0, queries, kept)


def write_archive(corpus: Sequence[Mapping[str, str]], judged: Judgements) -> bytes:
    qrels = (f"{each.query_id}\t{each.doc_id}\t{each.relevance}" for each in judged.qrels)
    lines = ["query-id\tcorpus-id\tscore", *qrels]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CORPUS, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in corpus))
        rows = ({"_id": id_, "text": query} for id_, query in judged.queries.items())
        archive.writestr("queries.jsonl", "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows))
        archive.writestr("qrels/test.tsv", "\n".join(lines) + "\n")
    return written.getvalue()


def read_archive(data: bytes, filename: str, folder: Path) -> Dataset:
    """Reads an archive whose `corpus.jsonl` may be in a folder; it is unpacked below `folder` for as long as this
    takes. Raises InvalidRequest.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as unpacked:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _unpack(archive, Path(unpacked))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise InvalidRequest(f"{filename}: not a ZIP archive that can be read ({error}).") from None
        try:
            dataset = load_dataset(Path(unpacked))
        except InvalidRequest as error:
            raise InvalidRequest(f"{filename}: {error.message.replace(f'{unpacked}/', '')}") from None
    return replace(dataset, name=PurePosixPath(filename).stem)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    members = {PurePosixPath(info.filename): info for info in archive.infolist()}
    root = next((path.parent for path in members if path.name == CORPUS), PurePosixPath())
    room = MAX_UNPACKED_BYTES
    for name in READ:
        info = members.get(root / name)
        if info is None:
            continue
        with archive.open(info) as member:
            content = member.read(room + 1)
        room -= len(content)
        if room < 0:
            raise InvalidRequest(f"{name}: the archive holds more than {MAX_UNPACKED_BYTES:,} bytes.")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
