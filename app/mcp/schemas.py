"""The arguments and results of the tools. A model knows the tools only from these descriptions.

A result is data, and also text for models whose client does not pass data on.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from app.http.schemas.absence import NullIsAbsence
from app.http.schemas.ingest import MAX_TITLE_CHARACTERS
from app.http.schemas.query import MAX_LANGUAGES
from app.http.schemas.wire import CollectionName, FilledText, FilterBounds, Id, LanguageCode, MetadataBounds, Text

Json = Mapping[str, Any]

MAX_QUERY_CHARACTERS = 4000
MAX_TOP_K = 20
MAX_TEXT_CHARACTERS = 1_000_000
MAX_PASSAGE_CHARACTERS = 8000
MAX_COLLECTIONS = 200
OF_HITS = ("title", "document_id", "chunk_id", "page", "section", "language", "score", "metadata")


def _object(value: object) -> object:
    """Parses a JSON text: some clients send objects as text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# The node checks their content. The schema of JSON would refer to itself, which not every client resolves.
FilterArgument = Annotated[dict[str, Any], FilterBounds, BeforeValidator(_object)]
MetadataArgument = Annotated[dict[str, Any], MetadataBounds, BeforeValidator(_object)]


class Arguments(NullIsAbsence):
    model_config = ConfigDict(extra="forbid")


class SearchArguments(Arguments):
    query: Annotated[FilledText, Field(max_length=MAX_QUERY_CHARACTERS)] = Field(
        description="The question, as a full sentence in the user's words and language. One question a call."
    )
    collection: CollectionName = Field("docs", description="Where to search; list_collections names them.")
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="Passages to return, the best first.")
    languages: list[LanguageCode] = Field(
        default_factory=list,
        max_length=MAX_LANGUAGES,
        description='Only documents in these languages, as codes of ISO 639: ["en", "zh"]. Leave it out to search all: '
        "a question finds documents in other languages, too.",
    )
    filter: FilterArgument = Field(
        default_factory=dict,
        description='Only passages that meet this condition, for instance {"type": "eq", "key": "metadata.year", '
        '"value": 2024}. Types: eq, ne, gt, gte, lt, lte, in, contains (a text or a list holds the value), '
        "starts_with, ends_with, exists; joined by "
        '{"type": "and", "filters": [...]}, or, not. Keys: document_id, title, media_type, language, page, '
        "ingested_at, and "
        '"metadata." with a key of the documents\' metadata. Leave it out to search everything.',
    )


class IngestArguments(Arguments):
    text: Annotated[FilledText, Field(max_length=MAX_TEXT_CHARACTERS)] = Field(
        description="The whole text of one document, plain or Markdown."
    )
    title: Annotated[Text, Field(max_length=MAX_TITLE_CHARACTERS)] = Field(
        "", description="Title of the document, shown with its passages."
    )
    id: Id = Field(
        "",
        description="Id of the document, for instance its path or address. A document that has it already is replaced. "
        "Left out, it follows from the text.",
    )
    metadata: MetadataArgument = Field(
        default_factory=dict,
        description='Facts about the document that searches can filter by, for instance {"year": 2024}.',
    )
    collection: CollectionName = Field("docs", description="Where to store it; it must exist.")


class NoArguments(Arguments):
    pass


class Passage(BaseModel):
    text: str
    text_is_cut: bool = Field(description=f"The passage is longer than {MAX_PASSAGE_CHARACTERS} characters.")
    title: str
    document_id: str
    chunk_id: str
    page: int | None
    section: list[str] = Field(description="Headings above the passage, the outermost first.")
    language: str | None = Field(description="Language of the document; null if it is not known.")
    score: float | None = Field(description="Higher is better; compare within this answer only.")
    metadata: dict[str, JsonValue]


class SearchAnswer(BaseModel):
    passages: list[Passage] = Field(description="The best first.")
    reranked: bool | Literal["partial"] = Field(description="False: the order is that of recall alone, less reliable.")
    score_name: str
    notes: list[str] = Field(description="What was not as it should be, in words; empty if all was.")

    @classmethod
    def of(cls, answer: Json) -> Self:
        return cls(
            passages=[
                Passage.model_validate(
                    {
                        **{name: hit[name] for name in OF_HITS},
                        "text": hit["text"][:MAX_PASSAGE_CHARACTERS],
                        "text_is_cut": len(hit["text"]) > MAX_PASSAGE_CHARACTERS,
                    }
                )
                for hit in answer["hits"]
            ],
            reranked=answer["rerank"]["applied"],
            score_name=answer["score_name"],
            notes=_notes(answer),
        )

    def as_text(self) -> str:
        parts = [_passage_text(place, each, self.score_name) for place, each in enumerate(self.passages, start=1)]
        return "\n\n".join([*(parts or ["Nothing was found."]), *(f"Note: {note}" for note in self.notes)])


def _passage_text(place: int, passage: Passage, score_name: str) -> str:
    facts = [f"document {passage.document_id}"]
    if passage.page is not None:
        facts.append(f"page {passage.page}")
    if passage.section:
        facts.append(f"section {' > '.join(passage.section)}")
    if passage.score is not None:
        facts.append(f"{score_name} {passage.score:.3f}")
    title = f"{passage.title} " if passage.title else ""
    return f"[{place}] {title}({', '.join(facts)})\n{passage.text}{' …' if passage.text_is_cut else ''}"


def _notes(answer: Json) -> list[str]:
    notes = []
    rerank, recall = answer["rerank"], answer["recall"]
    if rerank["applied"] is False and answer["hits"]:
        notes.append(
            f"The passages were not reranked ({rerank['reason']}): their order is that of recall, and "
            f"{answer['score_name']} scores cannot be compared with those of reranked answers."
        )
    if rerank["applied"] == "partial":
        notes.append(
            f"Only {rerank['scored']} of {rerank['candidates']} candidates were reranked ({rerank['reason']})."
        )
    if recall["reason"]:
        notes.append(f"Recall was {recall['mode']} only ({recall['reason']}).")
    if answer["truncated_query_tokens"]:
        notes.append(f"The query was too long: its last {answer['truncated_query_tokens']} tokens were not read.")
    return notes


class IngestAnswer(BaseModel):
    document_id: str
    status: str = Field(
        description="ready; replaced: an older text of that id is gone; unchanged: it was there already; duplicate_of: "
        "left out, another document has the same text; queued: taken, but not searchable yet; failed."
    )
    searchable: bool
    chunks: int
    tokens: int
    duplicate_of: str | None
    error: str | None
    collection: str
    job_id: str

    @classmethod
    def of(cls, job: Json) -> Self:
        """Returns the answer for a job with one document."""
        [receipt] = job["documents"]
        error = receipt["error"]
        return cls(
            document_id=receipt["id"],
            status=receipt["status"],
            searchable=receipt["status"] in ("ready", "replaced", "unchanged"),
            chunks=receipt["chunks"],
            tokens=receipt["tokens"],
            duplicate_of=receipt["duplicate_of"],
            error=f"{error['message']} ({error['code']})" if error else None,
            collection=job["collection"],
            job_id=job["job_id"],
        )

    def as_text(self) -> str:
        what = f"Document {self.document_id} in collection {self.collection}"
        if self.searchable:
            return f"{what} is searchable ({self.status}; {self.chunks} chunks, {self.tokens} tokens)."
        if self.status == "duplicate_of":
            return f"{what} was left out: document {self.duplicate_of} has the same text."
        if self.error:
            return f"{what} failed: {self.error}"
        return f"{what} was taken as job {self.job_id} and is not searchable yet; it will be. Do not send it again."


class CollectionAnswer(BaseModel):
    name: str
    language: str
    languages: dict[str, int] = Field(
        description="Number of documents by their language, as a code of ISO 639, the most frequent first."
    )
    metadata_keys: dict[str, str] = Field(description="Keys that filters can evaluate efficiently, and their types.")
    embedding_model: str


class CollectionsAnswer(BaseModel):
    collections: list[CollectionAnswer]
    left_out: int = Field(description=f"Collections beyond the first {MAX_COLLECTIONS}.")

    @classmethod
    def of(cls, collections: Sequence[Json]) -> Self:
        return cls(
            collections=[
                CollectionAnswer(
                    name=each["name"],
                    language=each["language"],
                    languages=each["languages"] or {},
                    metadata_keys=each["metadata_keys"],
                    embedding_model=each["fingerprint"]["model"],
                )
                for each in collections[:MAX_COLLECTIONS]
            ],
            left_out=max(0, len(collections) - MAX_COLLECTIONS),
        )

    def as_text(self) -> str:
        lines = []
        for each in self.collections:
            keys = ", ".join(f"metadata.{key} ({type_})" for key, type_ in each.metadata_keys.items())
            counts = ", ".join(f"{code} ({count:,})" for code, count in each.languages.items())
            language = f"languages {counts}" if counts else f"language {each.language}"
            lines.append(f"- {each.name}: {language}" + (f"; filters on {keys}" if keys else ""))
        if self.left_out:
            lines.append(f"{self.left_out} more are not shown.")
        return "\n".join(lines or ["There is no collection."])
