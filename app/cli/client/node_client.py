"""The command line's client of a node: langchain_tandem's client, with retries for ingestion only."""

from dataclasses import replace

from langchain_tandem.client import LONG_RETRIES, NO_RETRIES, TandemClient

ANSWER_SECONDS = 700.0
"""Models on small machines take their time."""
PATIENCE = replace(LONG_RETRIES, unreachable_seconds=0)
START_HINT = "Start a node with `make serve`, or name one with --url."
"""Hint for users whose node does not run."""


class Client(TandemClient):
    """Retries nothing, since a person waits at the terminal, except ingestion: documents are sent and jobs are followed
    while the node is full or temporarily unavailable.
    """

    def __init__(self, url: str, api_key: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        """`seconds` is the timeout of an answer."""
        super().__init__(url, api_key, timeout=seconds, retries=NO_RETRIES, ingest_retries=PATIENCE)
