"""API keys, and the audit log."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response

from app.http.examples import keys as examples
from app.http.routes.dependencies import ServingNode
from app.http.routes.documented import CATALOG, answer, failures, named
from app.http.schemas.keys import AuditEntryOut, AuditLogOut, KeyIn, KeyOut, KeysOut, NewKeyOut
from app.http.schemas.wire import Moment, Text
from ingestion.access.audit_log import AuditFilter
from ingestion.access.keys import StoredKey

router = APIRouter(prefix="/keys", tags=["keys"])
log_router = APIRouter(tags=["keys"])

KeyPath = Annotated[Text, Path(description="Id of the key.", max_length=80, examples=["key_2f1c8a90d4e6b375"])]
Wanted = Annotated[Text | None, Query(max_length=512)]
NOT_FOUND = failures("forbidden", "key_not_found", "invalid_text", *CATALOG)


@router.post(
    "",
    summary="Create an API key",
    status_code=201,
    responses={
        201: answer(examples.NEW, "The key."),
        **failures("forbidden", "key_needed", "invalid_request", "invalid_text", *CATALOG),
    },
)
async def create_key(
    body: Annotated[KeyIn, Body(openapi_examples=named(examples.CREATE))], node: ServingNode
) -> NewKeyOut:
    """Creates a key with scopes and collections. The answer holds the key, which is not shown again."""
    key, secret = await node.keys.create(
        body.name,
        scopes=body.scopes,
        collections=body.collections,
        expires_at=body.expires_at,
        limits=body.limits.to_limits(),
        tenant=body.tenant,
        filter=body.filter,
        groups=body.groups,
    )
    return _new(key, secret)


@router.get(
    "",
    summary="List API keys",
    responses={200: answer(examples.LIST, "A page of keys."), **failures("forbidden", "invalid_text", *CATALOG)},
)
async def list_keys(
    node: ServingNode,
    cursor: Annotated[Text | None, Query(max_length=80, description="`next_cursor` of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of keys.")] = 100,
) -> KeysOut:
    """The stored keys, ordered by id. Those of TANDEM_API_KEYS are not among them."""
    found = await node.keys.page(cursor, limit)
    return KeysOut(
        keys=[KeyOut.model_validate(_values(each)) for each in found],
        next_cursor=found[-1].id if len(found) == limit else None,
    )


@router.get("/{key_id}", summary="Get an API key", responses={200: answer(examples.ONE, "The key."), **NOT_FOUND})
async def get_key(key_id: KeyPath, node: ServingNode) -> KeyOut:
    """One key, without its secret."""
    return KeyOut.model_validate(_values(await node.keys.get(key_id)))


@router.post(
    "/{key_id}/rotate",
    summary="Rotate an API key",
    responses={200: answer(examples.NEW, "The key, with its new secret."), **NOT_FOUND},
)
async def rotate_key(key_id: KeyPath, node: ServingNode) -> NewKeyOut:
    """Replaces the secret of a key. The earlier one stops within a second on every node."""
    return _new(*await node.keys.rotate(key_id))


@router.delete(
    "/{key_id}",
    summary="Revoke an API key",
    status_code=204,
    responses={204: {"description": "The key stops within a second on every node."}, **NOT_FOUND},
)
async def revoke_key(key_id: KeyPath, node: ServingNode) -> Response:
    """Ends a key for good. Its record stays, so that the audit log can be read."""
    await node.keys.revoke(key_id)
    return Response(status_code=204)


@log_router.get(
    "/audit-log",
    summary="Read the audit log",
    responses={200: answer(examples.LOG, "A page of entries."), **failures("forbidden", "invalid_text", *CATALOG)},
)
async def read_audit_log(
    node: ServingNode,
    key_id: Annotated[Wanted, Query(description="Only actions of this key.")] = None,
    action: Annotated[Wanted, Query(description="Only this action.", examples=["document.delete"])] = None,
    collection: Annotated[Wanted, Query(description="Only actions on this collection.")] = None,
    document_id: Annotated[Wanted, Query(description="Only actions on this document.")] = None,
    outcome: Annotated[Wanted, Query(description="Only this outcome.", examples=["ok", "forbidden"])] = None,
    token_subject: Annotated[Wanted, Query(description="Only requests with a token of this subject (`sub`).")] = None,
    since: Annotated[Moment | None, Query(description="Only from this time on.")] = None,
    until: Annotated[Moment | None, Query(description="Only before this time.")] = None,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the previous page.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries.")] = 100,
) -> AuditLogOut:
    """Who changed or exported what, when, from where and with what outcome, and what was refused; the latest first.
    Entries go after TANDEM_RETENTION_DAYS."""
    filter = AuditFilter(key_id, action, collection, document_id, outcome, since, until, token_subject)
    found = await node.keys.audit_log(filter, cursor, limit)
    return AuditLogOut(
        entries=[AuditEntryOut.model_validate(each) for each in found],
        next_cursor=str(found[-1].id) if len(found) == limit else None,
    )


def _new(key: StoredKey, secret: str) -> NewKeyOut:
    return NewKeyOut.model_validate({**_values(key), "key": secret})


def _values(key: StoredKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in KeyOut.model_fields}
