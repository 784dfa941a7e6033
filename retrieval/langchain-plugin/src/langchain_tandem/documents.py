"""Converts texts into documents of the node's API, and finds the ids under which they are stored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    metadata: Mapping[str, Any]
    id: str | None = None


def to_wire(texts: Iterable[Text], partition: str | None) -> list[dict[str, Any]]:
    """Returns documents for `POST /ingest`. A document without an id gets one derived from text and metadata: adding it
    again replaces the same document, and the same text with other metadata is another document.
    """
    return [
        {
            "id": text.id or sha256(f"{_as_json(text)}\n{text.text}".encode("utf-8", "surrogatepass")).hexdigest()[:32],
            "text": text.text,
            "metadata": dict(text.metadata),
        }
        | ({"partition": partition} if partition else {})
        for text in texts
    ]


def ids_of(documents: Sequence[Mapping[str, Any]], receipts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the id under which each document is stored. It is the id of another document if the collection leaves
    duplicates out.
    """
    duplicates = {each["id"]: each["duplicate_of"] for each in receipts if each["status"] == "duplicate_of"}
    return [duplicates.get(document["id"], document["id"]) for document in documents]


def _as_json(text: Text) -> str:
    try:
        return json.dumps(text.metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Metadata has to be JSON, and that of the text {text.text[:60]!r} is not: {error}."
        ) from error
