"""The groups of routes: what the documentation says of them, and how they write their errors."""

from dataclasses import dataclass

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.http.error_formats import COHERE, DIFY, NATIVE, OPENAI, RERANK, ErrorFormat


@dataclass(frozen=True, slots=True)
class Tag:
    """A group of routes as the documentation shows it."""

    name: str
    description: str
    errors: ErrorFormat = NATIVE
    """Another one where the clients of another product parse it."""


TAGS = (
    Tag("search", "Questions: recall by vectors and words, then reranking."),
    Tag("ingest", "Documents on their way in."),
    Tag("jobs", "How far an ingestion is, and what became of each document."),
    Tag("documents", "What a collection holds, and its deletion."),
    Tag("collections", "What belongs together: one embedding model, one way of cutting, one set of settings."),
    Tag("reembed", "A collection's move to another model or chunk size, and the way back."),
    Tag("embed", "The embedding model by itself."),
    Tag("audit", "Whether catalog, vector store and originals agree."),
    Tag("openai", "OpenAI's wire: embeddings, models, files, and vector stores, which are collections.", OPENAI),
    Tag("rerank", "The reranking model by itself, on the wires of Jina and vLLM.", RERANK),
    Tag("cohere", "The reranking model by itself, on Cohere's wire.", COHERE),
    Tag("dify", "Dify's external knowledge API.", DIFY),
    Tag("health", "For orchestrators and monitoring."),
)


def error_format_of(route: object) -> ErrorFormat:
    """Of the route's first tag."""
    formats = {tag.name: tag.errors for tag in TAGS}
    return formats.get(str(route.tags[0]), NATIVE) if isinstance(route, APIRoute) and route.tags else NATIVE


def error_format_at(scope: Scope) -> ErrorFormat:
    """Of the route that a request goes to, whether or not it has got there."""
    return error_format_of(route_at(scope))


def route_at(scope: Scope) -> object:
    """The route that a request goes to, whether or not it has got there; None where there is none."""
    fits = (route for route in scope["app"].routes if route.matches(scope)[0] is Match.FULL)
    return scope.get("route") or next(fits, None)
