"""Options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.completion import collection_names
from app.cli.exit_codes import JSON_REQUESTED

NODE = "http://127.0.0.1:8080"
"""Default address of `tandem serve`."""
STDOUT = Path("-")


def _request_json(ctx: typer.Context, requested: bool) -> bool:
    ctx.meta[JSON_REQUESTED] = requested
    return requested


def _json_file(ctx: typer.Context, path: Path | None) -> Path | None:
    ctx.meta[JSON_REQUESTED] = path == STDOUT
    return path


Url = Annotated[str, typer.Option("--url", envvar="TANDEM_URL", help="URL of the node.")]
ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="TANDEM_API_KEY", help="API key of the node.")]
OwnUrl = Annotated[
    str | None,
    typer.Option("--url", envvar="TANDEM_URL", help="URL of the node. Default: start a node for this command."),
]
CollectionName = Annotated[
    str, typer.Option("--collection", "-c", help="Collection to use.", autocompletion=collection_names)
]
Name = Annotated[str, typer.Argument(help="Name of the collection.", autocompletion=collection_names)]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, alone on stdout.", is_eager=True, callback=_request_json),
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="File for the results as JSON; - is stdout.", is_eager=True, callback=_json_file),
]
