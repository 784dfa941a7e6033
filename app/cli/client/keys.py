"""The `tandem keys` commands, and `tandem audit-log`."""

from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client.node_client import Client
from app.cli.client.search import read_filter
from app.cli.console import messages, results
from app.cli.exit_codes import print_json
from app.cli.input import confirm
from app.cli.options import NODE, ApiKey, AsJson, Url
from retrieval.errors import InvalidRequest

keys_app = typer.Typer(no_args_is_help=True, help="API keys with scopes and collections.")

KeyId = Annotated[str, typer.Argument(help="Id of the key, such as key_2f1c8a90d4e6b375.")]


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name for people.")],
    scope: Annotated[list[str], typer.Option("--scope", "-s", help="search, ingest, manage or admin. Repeatable.")],
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Collection that exists for the key: name or glob. Repeatable. Default: all."
        ),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires. Default: never.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The key reads and writes the documents of this tenant alone. Default: all.")
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(
            help="JSON: the key reads the documents that this filter selects alone. With the scope search only. "
            "Default: all."
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            "-g",
            help="Group of its holder, for collections with principals. With the scope search only. Repeatable.",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="requests_per_minute, texts_per_minute, candidates_per_minute, documents, bytes or queued_jobs: "
            "requests_per_minute=600. Repeatable.",
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Create a key. It is shown this once."""
    settings: dict[str, Any] = {"scopes": scope, "collections": collection or ["*"]}
    if tenant is not None:
        settings["tenant"] = tenant
    if filter is not None:
        settings["filter"] = read_filter(filter)
    if group:
        settings["groups"] = group
    if limit:
        settings["limits"] = _limits(limit)
    if days:
        settings["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    with Client(url, api_key) as client:
        _show_new(client.create_key(name, **settings), as_json=as_json)


@keys_app.command("list")
def list_keys(as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """List the stored keys, without their secrets."""
    with Client(url, api_key) as client:
        found = list(client.keys())
    if as_json:
        print_json({"keys": found})
        return
    table = _table("id", "name", "scopes", "collections", "created", "last used", "state")
    for key in found:
        cells = (", ".join(key["scopes"]), ", ".join(key["collections"]), _when(key["created_at"]))
        table.add_row(key["id"], Text(key["name"]), *cells, _when(key["last_used_at"]), _state(key))
    results().print(table)


@keys_app.command()
def show(key_id: KeyId, as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """Show one key, without its secret."""
    with Client(url, api_key) as client:
        found = client.key(key_id)
    if as_json:
        print_json(found)
    else:
        _show(found)


@keys_app.command()
def rotate(key_id: KeyId, as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """Replace the secret of a key. The earlier one stops within a second."""
    with Client(url, api_key) as client:
        _show_new(client.rotate_key(key_id), as_json=as_json)


@keys_app.command()
def revoke(
    key_id: KeyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """End a key for good, within a second."""
    if not yes:
        confirm("Revoking a key", f"Revoke {key_id}?")
    with Client(url, api_key) as client:
        client.revoke_key(key_id)
    if as_json:
        print_json({"revoked": [key_id]})
    else:
        results().print(f"{key_id}: revoked", markup=False, highlight=False)


def audit_log(
    key_id: Annotated[str | None, typer.Option("--key", help="Only actions of this key.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, such as document.delete.")] = None,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only actions on this collection.")
    ] = None,
    document: Annotated[str | None, typer.Option(help="Only actions on this document.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Only this outcome: ok, or an error's code.")] = None,
    token_subject: Annotated[str | None, typer.Option(help="Only requests with a token of this subject (sub).")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this time on: 2026-03-02T09:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of entries.")] = 50,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Show who changed or exported what, the latest first."""
    given = {
        "key_id": key_id,
        "action": action,
        "collection": collection,
        "document_id": document,
        "outcome": outcome,
        "token_subject": token_subject,
        "since": since,
        "until": until,
    }
    filters = {name: value for name, value in given.items() if value is not None}
    with Client(url, api_key) as client:
        entries = client.audit_log(limit=limit, **filters)
    if as_json:
        print_json({"entries": entries})
        return
    table = _table("at", "key", "token subject", "from", "action", "outcome", "collection", "what")
    for each in entries:
        what = each["document_id"] or each["subject"] or ""
        more = f" ({each['count']})" if each["count"] > 1 else ""
        where = (each["address"] or "-", each["action"], each["outcome"], each["collection"] or "-")
        who = (each["key_id"] or "-", Text(each["token_subject"] or "-"))
        table.add_row(_when(each["at"]), *who, *where, Text(what + more))
    results().print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _limits(pairs: list[str]) -> dict[str, int]:
    limits = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not number.isdecimal():
            raise InvalidRequest(f"--limit {pair!r}: give a name and a whole number, as in requests_per_minute=600.")
        limits[name] = int(number)
    return limits


def _show_new(key: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    _show(key)
    messages().print("The key is shown this once: keep it in a safe place.")
    results().print(key["key"], markup=False, highlight=False, soft_wrap=True)


def _show(key: dict[str, Any]) -> None:
    rows = {
        "id": key["id"],
        "name": key["name"],
        "scopes": ", ".join(key["scopes"]),
        "collections": ", ".join(key["collections"]),
        "tenant": key["tenant"] or "-",
        "filter": dumps(key["filter"], ensure_ascii=False) if key["filter"] else "-",
        "groups": "-" if key["groups"] is None else ", ".join(key["groups"]),
        "limits": ", ".join(f"{name} {limit:,}" for name, limit in key["limits"].items() if limit) or "-",
        "created": f"{_when(key['created_at'])} by {key['created_by']}",
        "last used": _when(key["last_used_at"]),
        "state": _state(key),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        table.add_row(name, Text(value, overflow="fold"))
    results().print(table)


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {_when(key['revoked_at'])}"
    if key["expires_at"]:
        passed = datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC)
        return f"{'expired' if passed else 'expires'} {_when(key['expires_at'])}"
    return "active"


def _when(time: str | None) -> str:
    return time[:19].replace("T", " ") if time else "-"
