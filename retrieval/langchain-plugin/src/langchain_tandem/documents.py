"""Texts on their way into a node: what is sent for them, and under which ids they are there afterwards."""

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
    """Documents of `POST /ingest`. One without an id gets one made of text and metadata: added again it is
    the same document, and the same text with other metadata another one."""
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
    """Under which each of the documents is found: under another's, where the collection leaves duplicates out."""
    duplicates = {each["id"]: each["duplicate_of"] for each in receipts if each["status"] == "duplicate_of"}
    return [duplicates.get(document["id"], document["id"]) for document in documents]


def _as_json(text: Text) -> str:
    try:
        return json.dumps(text.metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Metadata has to be JSON, and that of the text {text.text[:60]!r} is not: {error}."
        ) from error
