"""The `tandem documents` commands."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client.node_client import Client
from app.cli.console import results
from app.cli.exit_codes import print_json
from app.cli.options import NODE, ApiKey, AsJson, CollectionName, Url

documents_app = typer.Typer(no_args_is_help=True, help="Documents of a collection.")
Id = Annotated[str, typer.Argument(help="Id of the document.")]


@documents_app.command("list")
def list_documents(
    collection: CollectionName = "docs", as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None
) -> None:
    """List the documents of a collection, ordered by id."""
    with Client(url, api_key) as client:
        documents = list(client.documents(collection))
    if as_json:
        print_json({"documents": documents})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "state", "chunks", "tokens", "searchable since", "title"):
        table.add_column(column, justify="right" if column in ("chunks", "tokens") else "left", overflow="fold")
    for each in documents:
        counts = (f"{each['chunks']:,}", f"{each['tokens']:,}")
        table.add_row(Text(each["id"]), each["state"], *counts, _minute(each), Text(each["title"]))
    if documents:
        results().print(table)
    results().print(f"{len(documents):,} documents in {collection}", highlight=False)


@documents_app.command()
def show(
    document: Id, collection: CollectionName = "docs", as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None
) -> None:
    """Show one document and the state of its ingestion."""
    with Client(url, api_key) as client:
        found = client.document(document, collection=collection)
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.items():
        if value not in (None, "", {}):
            table.add_row(name, Text(str(value), overflow="fold"))
    results().print(table)


@documents_app.command()
def delete(
    documents: Annotated[list[str], typer.Argument(help="Ids of documents.", metavar="DOCUMENT...")],
    collection: CollectionName = "docs",
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Delete documents, and wait until the store contains no chunk of them."""
    with Client(url, api_key) as client:
        for document in documents:
            client.delete_document(document, collection=collection)
            if not as_json:
                results().print(f"{document}: deleted from {collection}", markup=False, highlight=False)
    if as_json:
        print_json({"deleted": documents})


def _minute(document: dict[str, Any]) -> str:
    return (document["searchable_at"] or "")[:16].replace("T", " ")
