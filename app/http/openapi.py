"""The OpenAPI schema of all routes: what FastAPI derives from each, and the parts that they share."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.errors import example_of, has_retry_after, meaning_of
from app.http.error_formats import ErrorFormat
from app.http.routes.dependencies import serving_node
from app.http.routes.documented import CODES
from app.http.schemas.ingest import IngestForm, IngestIn, JobEventOut
from app.http.tags import TAGS, error_format_of

Json = dict[str, Any]

DESCRIPTION = """\
Documents in, reranked answers out. `POST /ingest` takes documents, `POST /search` finds them.

Plain JSON in UTF-8, names in snake_case, ids are strings, times in UTC (RFC 3339), durations in milliseconds or
seconds as the field's name or description says. Offsets into texts count characters (code points). Unknown fields are
refused by name.

**Errors.** Every error has the body `{"error": {"code", "message", "detail"}}`: the code is for programs and never
changes its meaning, the message is for people. Answers with 429 and 503 say in `Retry-After` when to retry. A 500 is a
defect of the service; the log has its details under the request id.

**Request ids.** Every answer has the header `X-Request-ID`. The node takes the id of the request if it has 1 to 64
letters, digits, dots, dashes and underscores, and makes a new one otherwise.

**Keys.** If the node has API keys, every route but `/health` requires `Authorization: Bearer <key>`. A key may lack the
scope of a route (403 `forbidden`); collections that it may not see are not there (404). Answers to a key with a limit
of requests have `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds); beyond any limit of a key the
answer is 429 `limit_reached`.

**Tokens.** In collections with `principals`, callers read the documents that one of their groups may read. Groups come
by the key, or by a signed token (JWT) in the header `X-Tandem-Token` beside it. A request with a token only reads. A
token that is not valid, or that the node has no settings for, is 401 `unauthorized`.

**Names and origins.** A node without keys answers only requests whose `Host` is one of its names (421
`host_not_allowed` otherwise), and accepts only GET, HEAD and OPTIONS from pages of other origins (403
`origin_not_allowed`).

**Limits of connections.** The head of a request has at most 64 KB (431 `head_too_large`) and arrives within seconds,
its body at 1 KB a second at least (408 `request_timeout`). Anything but HTTP/1.1 is 400 `malformed_request`;
connections beyond the limit are 503 `too_many_connections`. A node that stops answers 503 `not_ready` and closes the
connection.
"""

UNDECLARED_REQUEST_MODELS: tuple[type[BaseModel], ...] = (IngestIn, IngestForm)
"""Request bodies that routes read themselves, without FastAPI."""
UNDECLARED_ANSWER_MODELS: tuple[type[BaseModel], ...] = (JobEventOut,)
"""Parts of streams, which FastAPI does not see."""

WITH_BODY = (
    *("invalid_json", "too_large", "unsupported_media_type", "overloaded"),
    *("invalid_request", "invalid_text", "empty_text"),
)
HEADERS: Json = {
    "RequestId": {"description": "Id of the request in the service's log.", "schema": {"type": "string"}},
    "RetryAfter": {
        "description": "Seconds after which to retry.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 5,
    },
    "WwwAuthenticate": {"description": "Always `Bearer`.", "schema": {"const": "Bearer"}},
}


class Api(FastAPI):
    """FastAPI with a complete schema."""

    def openapi(self) -> Json:
        if not self.openapi_schema:
            schema = super().openapi()
            examples: Json = {}
            for route in self.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    for method in route.methods:
                        operation = schema["paths"][route.path_format][method.lower()]
                        _restore_examples(operation, route)
                        examples |= _complete(
                            operation, error_format_of(route), needs_node=_depends_on(route.dependant, serving_node)
                        )
                        if not self.state.settings.requires_keys and "security" in operation:
                            operation["security"].insert(0, {})
            _complete_components(schema["components"], {tag.errors.model for tag in TAGS}, examples)
        assert self.openapi_schema is not None
        return self.openapi_schema


def create_api(**options: Any) -> Api:
    """The application, without routes."""
    return Api(
        title="Tandem",
        summary="Ingestion, vector search and reranking for RAG, two models in tandem on one accelerator.",
        description=DESCRIPTION,
        version="0.1.0",
        contact={"name": "Tandem"},
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This node"}],
        openapi_url=None,  # app.http.routes.docs_page
        openapi_tags=[{"name": tag.name, "description": tag.description} for tag in TAGS],
        redirect_slashes=False,  # it would redirect callers to the host of their Host field
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # app.http.routes.docs_page
        redoc_url=None,
        **options,
    )


def _restore_examples(operation: Json, route: APIRoute) -> None:
    """Restores null values in examples, which FastAPI leaves out."""
    for status, declared in route.responses.items():
        for media_type, media in declared.get("content", {}).items():
            operation["responses"][str(status)]["content"][media_type]["examples"] = media["examples"]


def _complete(operation: Json, error_format: ErrorFormat, *, needs_node: bool) -> Json:
    """Adds the errors that follow from the kind of route, expands all errors, and names the headers. Returns the
    examples that the answers refer to."""
    responses: Json = operation["responses"]
    codes: list[str] = []
    for status, response in list(responses.items()):
        found = response.pop(CODES, None)
        if found or status == "422":  # FastAPI's own error, in another format
            del responses[status]
        codes += found or ()
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys((*codes, *_common_codes(operation, needs_node=needs_node))):
        by_status.setdefault(error_format.status_of(code), []).append(code)
    examples: Json = {}
    for number, of_status in by_status.items():
        bodies = {
            f"{error_format.model.__name__}.{code}": error_format.body(example_of(code), number) for code in of_status
        }
        responses[str(number)] = _error_response(number, of_status, error_format.model, bodies)
        examples |= {name: {"value": body} for name, body in bodies.items()}
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = {"$ref": "#/components/headers/RequestId"}
    operation["responses"] = dict(sorted(responses.items()))
    return examples


def _common_codes(operation: Mapping[str, object], *, needs_node: bool) -> Iterator[str]:
    if "security" in operation:
        yield from ("unauthorized", "forbidden", "limit_reached")
    if "requestBody" in operation:
        yield from WITH_BODY
    if "parameters" in operation:
        yield "invalid_request"
    if needs_node:
        yield "not_ready"


def _error_response(status: int, codes: Collection[str], model: type[BaseModel], examples: Collection[str]) -> Json:
    headers: Json = {}
    if any(has_retry_after(code) for code in codes):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WwwAuthenticate"}
    return {
        "description": "\n".join(f"- `{code}`: {meaning_of(code)}" for code in codes),
        "headers": headers,
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{model.__name__}"},
                "examples": {
                    code: {"$ref": f"#/components/examples/{name}"} for code, name in zip(codes, examples, strict=True)
                },
            }
        },
    }


def _complete_components(components: Json, error_models: Iterable[type[BaseModel]], examples: Json) -> None:
    read: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in UNDECLARED_REQUEST_MODELS]
    written: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "serialization") for model in (*UNDECLARED_ANSWER_MODELS, *error_models)
    ]
    _, found = models_json_schema([*read, *written], ref_template="#/components/schemas/{model}")
    schemas: Json = {**found["$defs"], **components["schemas"]}
    for generated in ("HTTPValidationError", "ValidationError"):
        schemas.pop(generated, None)
    components["schemas"] = dict(sorted(schemas.items()))
    components["headers"] = HEADERS
    components["examples"] = dict(sorted(examples.items()))


def _depends_on(dependant: Dependant, call: object) -> bool:
    return dependant.call is call or any(_depends_on(each, call) for each in dependant.dependencies)
