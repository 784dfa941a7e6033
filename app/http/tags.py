"""The groups of routes: their documentation and their error format."""

from dataclasses import dataclass

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

from app.http.error_formats import COHERE, DIFY, NATIVE, OPENAI, RERANK, ErrorFormat


@dataclass(frozen=True, slots=True)
class Tag:
    """A group of routes in the documentation."""

    name: str
    description: str
    errors: ErrorFormat = NATIVE
    """Differs where clients of another product parse the errors."""


TAGS = (
    Tag("search", "Searches: recall by vectors and words, then reranking."),
    Tag("ingest", "Ingestion of documents."),
    Tag("jobs", "Progress of ingestion and its result for each document."),
    Tag("documents", "Documents of a collection and their originals."),
    Tag("collections", "Collections: one embedding model, one chunking and one set of settings each."),
    Tag("reembed", "Re-embedding of a collection with another model or chunk size, and rollback."),
    Tag("embed", "The embedding model by itself."),
    Tag("audit", "Comparison of catalog, vector store and originals."),
    Tag("keys", "API keys of teams and applications, and the record of what was done with them."),
    Tag("openai", "OpenAI's API: embeddings, models, files, and vector stores, which are collections.", OPENAI),
    Tag("rerank", "The reranking model by itself, with the APIs of Jina and vLLM.", RERANK),
    Tag("cohere", "The reranking model by itself, with Cohere's API.", COHERE),
    Tag("dify", "Dify's external knowledge API.", DIFY),
    Tag("health", "For orchestrators and monitoring."),
)


def error_format_of(route: object) -> ErrorFormat:
    """Error format of a route, by its first tag."""
    formats = {tag.name: tag.errors for tag in TAGS}
    return formats.get(str(route.tags[0]), NATIVE) if isinstance(route, APIRoute) and route.tags else NATIVE


def error_format_at(scope: Scope) -> ErrorFormat:
    """Error format of the route of a request, also before routing."""
    return error_format_of(route_at(scope))


def route_at(scope: Scope) -> object:
    """The route of a request, also before routing; None if there is none."""
    fits = (route for route in scope["app"].routes if route.matches(scope)[0] is Match.FULL)
    return scope.get("route") or next(fits, None)
