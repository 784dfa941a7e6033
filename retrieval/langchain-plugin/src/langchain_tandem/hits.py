"""Describes a hit in a document's metadata, together with the user's own metadata."""

from collections.abc import Mapping
from typing import Any

from langchain_tandem.client import TandemClientError

HIT_FIELDS = (
    "chunk_id",
    "document_id",
    "title",
    "start",
    "end",
    "page",
    "section",
    "partition",
    "media_type",
    "language",
    "score",
    "scores",
    "ranks",
    "truncated_tokens",
)
OPTIONAL_FIELDS = ("context", "highlights", "others")


class MetadataClash(TandemClientError, ValueError):
    """The user's metadata contains the key under which hits are described."""


def metadata_of(hit: Mapping[str, Any], score_name: str, key: str) -> dict[str, Any]:
    """Returns the user's metadata with the node's description of the hit under `key`. What `include` left out of the
    hit is missing. Raises MetadataClash.
    """
    metadata = hit.get("metadata", {})
    refuse_clash(metadata, key, f"document {hit['document_id']!r}")
    description = {name: hit[name] for name in HIT_FIELDS if name in hit} | {"score_name": score_name}
    return {**metadata, key: description | {name: hit[name] for name in OPTIONAL_FIELDS if hit[name]}}


def refuse_clash(metadata: Mapping[str, Any], key: str, what: str) -> None:
    if key in metadata:
        raise MetadataClash(
            f"The metadata of {what} has a key {key!r}, which hits use for their ids, offsets and scores: remove it, "
            "or set another metadata_key."
        )
