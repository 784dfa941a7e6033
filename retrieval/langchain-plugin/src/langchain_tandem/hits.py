"""What is told of a hit beside its text, and how that goes along with the metadata of users."""

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
    "partition",
    "media_type",
    "score",
    "scores",
    "ranks",
    "truncated_tokens",
)
OPTIONAL_FIELDS = ("context", "highlights", "others")


class MetadataClash(TandemClientError, ValueError):
    """Metadata of a user has the very key under which hits are described."""


def metadata_of(hit: Mapping[str, Any], score_name: str, key: str) -> dict[str, Any]:
    """The user's metadata, and under `key` what the node tells of the hit. Raises MetadataClash."""
    refuse_clash(hit["metadata"], key, f"document {hit['document_id']!r}")
    description = {name: hit[name] for name in HIT_FIELDS} | {"score_name": score_name}
    return {**hit["metadata"], key: description | {name: hit[name] for name in OPTIONAL_FIELDS if hit[name]}}


def refuse_clash(metadata: Mapping[str, Any], key: str, what: str) -> None:
    if key in metadata:
        raise MetadataClash(
            f"The metadata of {what} has a key {key!r}, which is where hits tell their ids, offsets and scores: "
            "remove it, or give the retriever another metadata_key."
        )
