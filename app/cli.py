"""The `tandem` command.

Commands that run parts of the service import them when they are called: those that only talk to a node start at once.
"""

import asyncio
import sys
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from app.bench.cli import bench_app
from app.client import START_HINT, Client
from app.commands.audit import show_report
from app.commands.ingest import cancel_jobs, find_files, ingest_files, summarise
from app.commands.reembed import follow, read_chunking, read_golden
from app.commands.search import read_filter, show_hits
from app.settings import load_settings
from langchain_tandem.client import NodeUnreachable, TandemClientError
from retrieval.errors import TandemError
from retrieval.questions import Mode

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_show_locals=False, help=__doc__)
models_app = typer.Typer(no_args_is_help=True, help="The models that can serve, and those that are here.")
app.add_typer(models_app, name="models")
app.add_typer(bench_app, name="bench")

console = Console(width=None if sys.stdout.isatty() else 120)

Url = Annotated[str, typer.Option("--url", envvar="TANDEM_URL", help="The node to talk to.")]
ApiKey = Annotated[str | None, typer.Option("--api-key", envvar="TANDEM_API_KEY", help="Where the node wants one.")]
CollectionName = Annotated[str, typer.Option("--collection", "-c", help="Collection to use.")]
NODE = "http://127.0.0.1:8080"
"""Where `tandem serve` listens unless told otherwise."""


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if show_version:
        console.print(version("tandem-rag"))
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (TANDEM_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (TANDEM_PORT).")] = None,
) -> None:
    """Run a node: both models, the stores and the HTTP interface."""
    from app.commands.serve import serve as run_serve

    overrides = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    raise typer.Exit(run_serve(load_settings(**overrides)))


@app.command()
def worker() -> None:
    """Ingest what nodes have accepted, in a process of its own (TANDEM_WORKERS batches at once)."""
    from app.commands.worker import work

    work(load_settings())


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders.")],
    collection: CollectionName = "docs",
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Send files to a node and wait until they can be searched."""
    files = find_files(paths)
    with Client(url, api_key) as client:
        receipts = ingest_files(client, collection, files, console)
    if not summarise(receipts, console):
        raise typer.Exit(1)


@app.command()
def cancel(
    jobs: Annotated[list[str], typer.Argument(help="Ids of jobs.")],
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Stop what jobs have not finished."""
    with Client(url, api_key) as client:
        cancel_jobs(client, jobs, console)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The question.")],
    collection: CollectionName = "docs",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Hits to show.")] = 10,
    candidates: Annotated[int, typer.Option(help="Pool that is reranked.")] = 50,
    mode: Annotated[
        Mode | None, typer.Option(help="Recall by vectors, by words or both. Default: what can be.")
    ] = None,
    rerank: Annotated[
        bool | None, typer.Option(help="Rank the pool by the reranker. Default: in languages that it was made for.")
    ] = None,
    filter: Annotated[
        str | None,
        typer.Option(help='As JSON: {"type": "eq", "key": "metadata.year", "value": 2024}', metavar="JSON"),
    ] = None,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Ask a node."""
    question = {"collection": collection, "top_k": top_k, "candidates": candidates, "mode": mode}
    with Client(url, api_key) as client:
        answer = client.search(query, **question, rerank=rerank, filter=read_filter(filter))
    show_hits(answer, console)


@app.command()
def mcp(
    collection: CollectionName = "docs",
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Offer a node's documents to an assistant that starts this command (Model Context Protocol over stdio)."""
    from app.commands.mcp import serve_tools

    with Client(url, api_key) as client:
        serve_tools(client, collection)


@app.command()
def audit(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one. Default: all, and the originals.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Compare documents, vectors and originals of a node. Status 1 where findings are left."""
    with Client(url, api_key) as client:
        report = client.audit(collection, repair=repair)
    if as_json:
        print(dumps(report, indent=2, ensure_ascii=False))
    else:
        show_report(report, console)
    if not report["clean"]:
        raise typer.Exit(1)


@app.command()
def reembed(
    collection: Annotated[str, typer.Argument(help="Collection to move.")],
    models: Annotated[str | None, typer.Option(help="Pair or embedding model to move to, as in TANDEM_MODELS.")] = None,
    dimension: Annotated[int | None, typer.Option(help="Length of the vectors, for models trained for it.")] = None,
    chunking: Annotated[str | None, typer.Option(help="Longest chunk, or it and the overlap: 512:64.")] = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Folder with queries and qrels.tsv. Default: the stored golden queries.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, max=1, help="By how much nDCG@10 may fall.")] = 0.01,
    gate: Annotated[bool, typer.Option(help="Exchange only if the new one is as good.")] = True,
    rollback: Annotated[bool, typer.Option("--rollback", help="Bring the version before back.")] = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Embed a collection anew from its originals while it serves. Status 1 where the old version stays."""
    with Client(url, api_key) as client:
        if rollback:
            client.rollback(collection)
        else:
            console.print("Starting" if models is None else f"Starting {models}")
            plan: dict[str, object] = {"models": models, "dimension": dimension, "tolerance": tolerance, "gate": gate}
            if chunking:
                plan["chunking"] = read_chunking(chunking)
            if qrels:
                plan["golden"] = read_golden(qrels)
            client.reembed(collection, **plan)
        if not follow(client, collection, console):
            raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check this machine and the settings, and say what to mend."""
    from app.commands.doctor import doctor as run_doctor

    raise typer.Exit(0 if asyncio.run(run_doctor(load_settings(), console)) else 1)


@app.command()
def plan(
    models: Annotated[str | None, typer.Option(help="Model pair (TANDEM_MODELS).")] = None,
    embed: Annotated[str | None, typer.Option(help="Another embedder: id or folder (TANDEM_EMBED_MODEL).")] = None,
    rerank: Annotated[str | None, typer.Option(help="Another reranker: id or folder (TANDEM_RERANK_MODEL).")] = None,
    memory: Annotated[
        float | None, typer.Option(min=1, help="Of the device, in GB. Default: what the one found here has.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=64, help="Tokens of the longest input (TANDEM_MAX_MODEL_LEN).")
    ] = None,
    step: Annotated[int | None, typer.Option(min=64, help="Tokens that an engine computes at once, at most.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="bfloat16, fp8 or int4 (GPTQ, AWQ). Default: what config.json says.")
    ] = None,
    tensor_parallel: Annotated[int, typer.Option(min=1, help="Devices that each model is split over.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure, in bytes, as JSON.")] = False,
) -> None:
    """Say whether both models fit a device, with which limits and shares of its memory. Status 1 where they do not."""
    from app.commands.plan import plan_memory

    given = {"models": models, "embed_model": embed, "rerank_model": rerank, "max_model_len": window}
    fits = plan_memory(
        load_settings(**{name: value for name, value in given.items() if value is not None}),
        console,
        memory_gb=memory,
        step_tokens=step,
        tensor_parallel=tensor_parallel,
        weights=weights,
        as_json=as_json,
    )
    if not fits:
        raise typer.Exit(1)


@models_app.command("list")
def models_list() -> None:
    """Show the model pairs, and which models are here."""
    from app.commands.models import list_models

    list_models(load_settings(), console)


@models_app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A pair such as qwen3-0.6b, or a model's id.")]) -> None:
    """Download models: ModelScope first. Broken off, it resumes."""
    from app.commands.models import pull_models

    asyncio.run(pull_models(load_settings(), name, console))


@app.command()
def demo() -> None:
    """Start a node, ingest the handbook and ask it three questions."""
    from app.commands.demo import demo as run_demo

    raise typer.Exit(run_demo(load_settings(), console))


@app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Judged collections, one a folder.")],
    queries: Annotated[
        str | None, typer.Option(help="File of queries in each folder. Default: queries.small.jsonl, if any.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=10, max=400, help="Pool that is reranked.")] = 50,
    url: Annotated[str | None, typer.Option("--url", envvar="TANDEM_URL", help="Default: a node of its own.")] = None,
    api_key: ApiKey = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write all figures there, query by query.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw nDCG@10 there: a .png or .svg.")] = None,
    baseline: Annotated[
        Path | None, typer.Option("--compare", help="Show what has changed since the run that --json wrote there.")
    ] = None,
    fail_if_worse: Annotated[
        bool,
        typer.Option(
            "--fail-if-worse", help="With --compare: status 1 where nDCG@10 is significantly lower, or a row is gone."
        ),
    ] = False,
) -> None:
    """Measure search on judged collections: by words (BM25), by vectors and by both, without and with reranking.

    DIR is a folder in BEIR's layout:

    - corpus.jsonl: {"_id", "title", "text"} a line

    - queries.jsonl: {"_id", "text"} a line

    - qrels.tsv or qrels/test.tsv: query-id, corpus-id, score, tab separated, under a header; above 0 is relevant

    It is ingested into a collection of its own, which is deleted in the end.
    """
    from app.commands.evaluate import evaluate_folders

    if fail_if_worse and baseline is None:
        raise typer.BadParameter("wants --compare.", param_hint="--fail-if-worse")
    as_good = evaluate_folders(
        folders,
        console,
        queries=queries,
        pool=candidates,
        url=url,
        api_key=api_key,
        output=output,
        plot=plot,
        baseline=baseline,
    )
    if fail_if_worse and not as_good:
        raise typer.Exit(1)


@app.command("bench-catalog")
def bench_catalog(
    documents: Annotated[int, typer.Option(min=1, help="How many pass through.")] = 10_000,
) -> None:
    """Measure the catalog alone: SQLite, or the empty database of TANDEM_DATABASE_URL."""
    from app.commands.bench_catalog import bench_catalog as run_bench_catalog

    run_bench_catalog(load_settings(), console, documents=documents)


def main() -> NoReturn:
    """Expected failures end with one line on standard error and status 1."""
    try:
        app()
    except (TandemError, TandemClientError) as error:
        hint = f" {START_HINT}" if isinstance(error, NodeUnreachable) else ""
        Console(stderr=True).print(f"tandem: {error.message}{hint}", markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(1)


if __name__ == "__main__":
    main()
