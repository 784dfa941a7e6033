"""The `tandem documents` commands."""

from collections.abc import Iterable
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
    for column in ("id", "state", "chunks", "tokens", "language", "searchable since", "title"):
        table.add_column(column, justify="right" if column in ("chunks", "tokens") else "left", overflow="fold")
    for each in documents:
        counts = (f"{each['chunks']:,}", f"{each['tokens']:,}")
        table.add_row(
            Text(each["id"]), each["state"], *counts, each.get("language") or "", _minute(each), Text(each["title"])
        )
    if documents:
        results().print(table)
    results().print(f"{len(documents):,} documents in {collection}", highlight=False)


@documents_app.command()
def show(
    document: Id,
    collection: CollectionName = "docs",
    text: Annotated[
        bool, typer.Option("--text/--no-text", help="Show the text as well, with the borders of its chunks.")
    ] = True,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Show one document, the state of its ingestion, and the chunks that it became."""
    with Client(url, api_key) as client:
        found = client.document(document, collection=collection)
        if as_json:
            content = {"content": list(client.document_chunks(document, collection=collection))} if text else {}
            print_json({**found, **content})
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in found.items():
            if value not in (None, "", {}):
                table.add_row(name, Text(str(value), overflow="fold"))
        results().print(table)
        if text:
            _print_chunks(client.document_chunks(document, collection=collection))


def _print_chunks(chunks: Iterable[dict[str, Any]]) -> None:
    """Prints chunks. Text repeated from the previous chunk is dimmed."""
    end = 0
    for chunk in chunks:
        place = [f"chunk {chunk['ordinal'] + 1}", f"{chunk['start']}-{chunk['end']}", f"{chunk['tokens']} tokens"]
        if chunk["page"] is not None:
            place.insert(1, f"page {chunk['page']}")
        place += [" > ".join(chunk["section"])] if chunk["section"] else []
        results().print()
        results().rule(Text(", ".join(place)), align="left", characters="-")
        # The header of a table may stand before the text that offsets refer to.
        header = len(chunk["text"]) - (chunk["end"] - chunk["start"])
        repeated = header + max(end - chunk["start"], 0)
        results().print(Text(chunk["text"][:repeated], style="dim") + Text(chunk["text"][repeated:]), soft_wrap=True)
        end = max(end, chunk["end"])


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
