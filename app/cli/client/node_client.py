"""How the command line talks to a node: with langchain_tandem's client, at once or not at all, but for ingestion."""

from dataclasses import replace

from langchain_tandem.client import LONG_RETRIES, NO_RETRIES, TandemClient

ANSWER_SECONDS = 700.0
"""Models on small machines take their time."""
PATIENCE = replace(LONG_RETRIES, unreachable_seconds=0)
START_HINT = "Start a node with `make serve`, or name one with --url."
"""For who finds no node."""


class Client(TandemClient):
    """Repeats nothing for somebody at a terminal. Only documents, once a node takes them, are sent and followed while
    it is full, or away for a while."""

    def __init__(self, url: str, api_key: str | None = None, *, seconds: float = ANSWER_SECONDS) -> None:
        """`seconds`: how long an answer may take."""
        super().__init__(url, api_key, timeout=seconds, retries=NO_RETRIES, ingest_retries=PATIENCE)
