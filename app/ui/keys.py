"""Stored keys: the list, a new one, its rotation and its end; and the audit log. All of it is an administrator's."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from app.http.schemas.keys import KeyIn
from app.http.schemas.wire import Text
from app.ui.rendering import PageNode, PageRoute, checked_form, field, redirect, render, validated, whole_number
from ingestion.access.audit_log import AuditFilter
from ingestion.access.keys import SCOPES, KeyLimits
from retrieval.errors import InvalidRequest

router = APIRouter(include_in_schema=False, route_class=PageRoute)

KEYS_A_PAGE: Final = 100
ENTRIES_A_PAGE: Final = 100
LIMITS: Final = tuple(each.name for each in fields(KeyLimits))
MAX_DAYS: Final = 36_500

KeyPath = Annotated[Text, Path(max_length=80)]
Wanted = Annotated[Text, Query(max_length=512)]


@router.get("/ui/keys")
async def keys_page(
    request: Request, node: PageNode, cursor: Annotated[Text | None, Query(max_length=80)] = None
) -> Response:
    found = await node.keys.page(cursor, KEYS_A_PAGE)
    now = datetime.now(UTC)
    return render(
        request,
        "keys.html",
        keys=[(key, key.ended(now)) for key in found],
        next_cursor=found[-1].id if len(found) == KEYS_A_PAGE else None,
        keyless=node.caller.key_id is None,
        scopes=SCOPES,
        limits=LIMITS,
        max_days=MAX_DAYS,
    )


@router.post("/ui/keys")
async def create(request: Request, node: PageNode) -> Response:
    """Answers with the page of the new key, which no later page shows."""
    form = await checked_form(request)
    body: dict[str, Any] = {
        "name": field(form, "name").strip(),
        "scopes": [each for each in form.getlist("scopes") if isinstance(each, str)],
        "collections": field(form, "collections").replace(",", " ").split() or ["*"],
        "limits": {name: number for name in LIMITS if (number := whole_number(form, name)) is not None},
    }
    if tenant := field(form, "tenant").strip():
        body["tenant"] = tenant
    if text := field(form, "filter").strip():
        try:
            body["filter"] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"filter: not JSON ({error}).") from None
    if names := field(form, "groups").strip():
        body["groups"] = [name.strip() for name in names.split(",")]
    if days := whole_number(form, "days"):
        ends = datetime.now(UTC) + timedelta(days=min(days, MAX_DAYS))
        body["expires_at"] = ends.isoformat(timespec="seconds")
    wanted = validated(KeyIn, body)
    key, secret = await node.keys.create(
        wanted.name,
        scopes=wanted.scopes,
        collections=wanted.collections,
        expires_at=wanted.expires_at,
        limits=wanted.limits.to_limits(),
        tenant=wanted.tenant,
        filter=wanted.filter,
        groups=wanted.groups,
    )
    return render(request, "key.html", 201, key=key, secret=secret)


@router.post("/ui/keys/{key_id}/rotate")
async def rotate(request: Request, key_id: KeyPath, node: PageNode) -> Response:
    await checked_form(request)
    key, secret = await node.keys.rotate(key_id)
    return render(request, "key.html", key=key, secret=secret)


@router.post("/ui/keys/{key_id}/revoke")
async def revoke(request: Request, key_id: KeyPath, node: PageNode) -> Response:
    await checked_form(request)
    await node.keys.revoke(key_id)
    return redirect(request, "/ui/keys")


@router.get("/ui/audit-log")
async def audit_log_page(
    request: Request,
    node: PageNode,
    key_id: Wanted = "",
    token_subject: Wanted = "",
    action: Wanted = "",
    collection: Wanted = "",
    outcome: Wanted = "",
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Response:
    wanted = {
        "key_id": key_id,
        "token_subject": token_subject,
        "action": action,
        "collection": collection,
        "outcome": outcome,
    }
    filter = AuditFilter(
        key_id or None, action or None, collection or None, outcome=outcome or None, token_subject=token_subject or None
    )
    found = await node.keys.audit_log(filter, cursor, ENTRIES_A_PAGE)
    return render(
        request,
        "audit_log.html",
        entries=found,
        wanted=wanted,
        next_cursor=found[-1].id if len(found) == ENTRIES_A_PAGE else None,
    )
