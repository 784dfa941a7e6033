"""The `tandem collections` commands."""

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from app.cli.client.node_client import Client
from app.cli.client.reembed import read_chunking
from app.cli.console import results
from app.cli.exit_codes import print_json
from app.cli.input import confirm
from app.cli.options import NODE, ApiKey, AsJson, Name, Url
from ingestion.types import Duplicates
from retrieval.errors import InvalidRequest
from retrieval.types import Language

collections_app = typer.Typer(no_args_is_help=True, help="Collections of documents.")


@collections_app.command("list")
def list_collections(as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """List all collections."""
    with Client(url, api_key) as client:
        found = list(client.collections(languages=True))
    if as_json:
        print_json({"collections": found})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "language", "languages", "chunking", "model", "dimension", "created"):
        table.add_column(column, justify="right" if column == "dimension" else "left", overflow="fold")
    for each in found:
        made = each["fingerprint"]
        table.add_row(
            each["name"],
            each["language"],
            _languages(each),
            _chunking(each),
            made["model"],
            str(made["dimension"]),
            each["created_at"][:10],
        )
    results().print(table)


@collections_app.command()
def show(name: Name, as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """Show one collection with its number of chunks and the languages of its documents."""
    with Client(url, api_key) as client:
        found = client.collection(name)
    if as_json:
        print_json(found)
    else:
        _show(found)


@collections_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Letters of any script, digits, _, - and ., beginning with a letter.")],
    language: Annotated[Language, typer.Option(help="Language of the documents.")] = "mixed",
    chunking: Annotated[
        str | None, typer.Option(help="Maximum chunk length in tokens, or with the overlap: 512:64.")
    ] = None,
    duplicates: Annotated[
        Duplicates, typer.Option(help="Treatment of documents whose bytes are stored under another id.")
    ] = "store",
    metadata_key: Annotated[
        list[str] | None,
        typer.Option(help="Metadata key and the type of its values: year=int. Repeatable."),
    ] = None,
    dimension: Annotated[
        int | None, typer.Option(help="Dimension of the vectors, for models trained with shorter ones.")
    ] = None,
    query_instruction: Annotated[
        str | None, typer.Option(help="Embedding instruction for queries that bring none.")
    ] = None,
    rerank_instruction: Annotated[
        str | None, typer.Option(help="Reranking instruction for queries that bring none.")
    ] = None,
    document_instruction: Annotated[
        str | None, typer.Option(help="Text put before every passage when it is embedded.")
    ] = None,
    section_prefix: Annotated[
        bool, typer.Option("--section-prefix", help="Put the headings above a chunk before its text.")
    ] = False,
    principals: Annotated[
        bool, typer.Option("--principals", help="Documents state the groups that may read them; see --group of ingest.")
    ] = False,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Create a collection for the node's embedding model."""
    settings: dict[str, Any] = {
        "language": language,
        "duplicates": duplicates,
        "metadata_keys": _keys(metadata_key or []),
        "section_prefix": section_prefix,
        "principals": principals,
    }
    if chunking:
        settings["chunking"] = read_chunking(chunking)
    given = {
        "dimension": dimension,
        "query_instruction": query_instruction,
        "rerank_instruction": rerank_instruction,
        "document_instruction": document_instruction,
    }
    settings |= {option: value for option, value in given.items() if value is not None}
    with Client(url, api_key) as client:
        created = client.create_collection(name, **settings)
    if as_json:
        print_json(created)
    else:
        _show(created)


@collections_app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Delete a collection with its documents, vectors, jobs and originals."""
    if not yes:
        confirm("Deleting a collection", f"Delete {name} with its documents, vectors, jobs and originals?")
    with Client(url, api_key) as client:
        client.delete_collection(name)
    if as_json:
        print_json({"deleted": [name]})
    else:
        results().print(f"{name}: deleted", markup=False, highlight=False)


def _keys(pairs: list[str]) -> dict[str, str]:
    keys = {}
    for pair in pairs:
        key, _, kind = pair.partition("=")
        if not key or not kind:
            raise InvalidRequest(f"--metadata-key {pair!r}: give a key and the type of its values, as in year=int.")
        keys[key] = kind
    return keys


def _languages(collection: dict[str, Any]) -> str:
    """Returns the languages of its documents with their numbers."""
    return ", ".join(f"{code} ({count:,})" for code, count in (collection.get("languages") or {}).items())


def _show(collection: dict[str, Any]) -> None:
    made = collection["fingerprint"]
    rows = {
        "name": collection["name"],
        "chunks": f"{collection['chunks']:,}",
        "language": collection["language"],
        "languages": _languages(collection),
        "chunking": _chunking(collection),
        "duplicates": collection["duplicates"],
        "metadata keys": ", ".join(f"{key} ({kind})" for key, kind in collection["metadata_keys"].items()),
        "query instruction": collection["query_instruction"],
        "rerank instruction": collection["rerank_instruction"],
        "document instruction": collection.get("document_instruction"),
        "section prefix": "yes" if collection["section_prefix"] else None,
        "principals": "yes" if collection["principals"] else None,
        "model": f"{made['model']}, {made['dimension']} dimensions ({made['digest']})",
        "vectors": _disagreement(collection),
        "created": collection["created_at"][:19].replace("T", " "),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value, overflow="fold"))
    results().print(table)


def _disagreement(collection: dict[str, Any]) -> str | None:
    compared = collection.get("vectors")
    if not compared or compared["agree"]:
        return None
    return f"not those of the running engine (cosine {compared['cosine']:.4f}): tandem reembed --no-gate"


def _chunking(collection: dict[str, Any]) -> str:
    return f"{collection['chunking']['max_tokens']}:{collection['chunking']['overlap']}"
