"""What a model passes to the tools. The descriptions are written for it: it knows the tools by them alone."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.http.schemas.ingest import MAX_TITLE_CHARACTERS
from app.http.schemas.wire import CollectionName, FilledText, FilterBounds, Id, MetadataBounds, Text

MAX_QUERY_CHARACTERS = 4000
MAX_TOP_K = 20
MAX_TEXT_CHARACTERS = 1_000_000


def _object(value: object) -> object:
    """Some clients send objects as JSON in a text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


# The node checks what is in them. The schema of JSON would refer to itself, which not every client resolves.
FilterArgument = Annotated[dict[str, Any], FilterBounds, BeforeValidator(_object)]
MetadataArgument = Annotated[dict[str, Any], MetadataBounds, BeforeValidator(_object)]


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchArguments(Arguments):
    query: Annotated[FilledText, Field(max_length=MAX_QUERY_CHARACTERS)] = Field(
        description="The question, as a full sentence in the user's words and language. One question a call."
    )
    collection: CollectionName = Field("docs", description="Where to search; list_collections names them.")
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="Passages to return, the best first.")
    filter: FilterArgument = Field(
        default_factory=dict,
        description='Only passages that meet this condition, for instance {"type": "eq", "key": "metadata.year", '
        '"value": 2024}. Types: eq, ne, gt, gte, lt, lte, in, contains (a list holds the value), exists; joined by '
        '{"type": "and", "filters": [...]}, or, not. Keys: document_id, title, media_type, page, ingested_at, and '
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
