"""Shell completion of arguments."""

import typer

from app.cli.client.node_client import Client
from langchain_tandem.client import TandemClientError

SECONDS = 2.0
"""A shell that waits longer feels broken."""


def collection_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Returns the node's collections; none, silently, if it does not answer."""
    url, key = ctx.params.get("url"), ctx.params.get("api_key")
    if not url:
        return []
    try:
        with Client(url, key, seconds=SECONDS) as client:
            names = [str(each["name"]) for each in client.collections()]
    except TandemClientError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def pair_names(incomplete: str) -> list[str]:
    from retrieval.models.profiles import PROFILES

    return [pair.name for pair in PROFILES if pair.name.startswith(incomplete)]


def model_names(incomplete: str) -> list[str]:
    """Returns the pairs, and the ids of their models."""
    from retrieval.models.profiles import PROFILES

    ids = dict.fromkeys(model.id for pair in PROFILES for model in (pair.embed, pair.rerank))
    return pair_names(incomplete) + [id_ for id_ in ids if id_.startswith(incomplete)]
