"""The `tandem` command.

Commands that run parts of the service import them when they are called, so that commands which only contact a node
start quickly.
"""

from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from app.cli.bench.commands import bench_app
from app.cli.client.collections import collections_app
from app.cli.client.commands import client_app
from app.cli.client.documents import documents_app
from app.cli.client.jobs import jobs_app
from app.cli.client.keys import keys_app
from app.cli.console import results
from app.cli.exit_codes import TandemGroup, exit_table
from app.cli.node.commands import local_app
from app.cli.options import NODE, ApiKey, CollectionName, Url

app = typer.Typer(
    cls=TandemGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_show_locals=False,
    help="End-to-end retrieval for RAG: documents in, reranked answers out.",
    epilog=exit_table(),
)


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if show_version:
        results().print(version("tandem-rag"))
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (TANDEM_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (TANDEM_PORT).")] = None,
) -> None:
    """Run a node: both models, the stores and the HTTP interface."""
    from app.cli.node.serve import serve as run_serve
    from app.settings import load_settings

    overrides = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    raise typer.Exit(run_serve(load_settings(**overrides)))


@app.command()
def worker(
    of_node: Annotated[bool, typer.Option("--of-node", hidden=True, help="Started by a node.")] = False,
) -> None:
    """Run an ingestion worker process (TANDEM_WORKERS batches at once)."""
    from app.cli.node.worker import work
    from app.settings import load_settings

    work(load_settings(), of_node=of_node)


@app.command()
def mcp(collection: CollectionName = "docs", url: Url = NODE, api_key: ApiKey = None) -> None:
    """Serve a node's documents to an assistant as MCP tools over stdio."""
    from app.cli.client.mcp import serve_tools
    from app.cli.client.node_client import Client

    with Client(url, api_key) as client:
        serve_tools(client, collection)


@app.command()
def demo() -> None:
    """Start a node, ingest the handbook and run three searches."""
    from app.cli.node.demo import demo as run_demo
    from app.settings import load_settings

    raise typer.Exit(run_demo(load_settings(), results()))


app.add_typer(client_app)
app.add_typer(collections_app, name="collections")
app.add_typer(documents_app, name="documents")
app.add_typer(jobs_app, name="jobs")
app.add_typer(keys_app, name="keys")
app.add_typer(local_app)
app.add_typer(bench_app, name="bench")


def main() -> NoReturn:
    """Runs the command and exits with a status of app.cli.exit_codes.Exit."""
    app(prog_name="tandem")
    raise SystemExit


if __name__ == "__main__":
    main()
