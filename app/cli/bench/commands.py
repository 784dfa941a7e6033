"""The commands `tandem bench …`. Their implementation is imported when they are called, as in app.cli.main."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bench.measures import Arrivals
from app.cli.console import messages, results
from app.cli.options import STDOUT, ApiKey, AsJson, JsonFile, OwnUrl

if TYPE_CHECKING:
    from rich.console import Console

    from app.cli.bench.load.searching import Load
    from app.cli.bench.node import NodeChoice

bench_app = typer.Typer(no_args_is_help=True, help="Speed and load, measured over a node's HTTP interface.")

HITS = 10
"""Hits that a search returns."""

Data = Annotated[
    Path | None, typer.Option("--data", help="Labelled collection, as for `tandem eval`. Default: generated texts.")
]
Tokens = Annotated[int, typer.Option(min=8, help="Tokens of each generated text.")]
Pool = Annotated[int, typer.Option(min=1, help="Number of generated documents to search.")]
Rate = Annotated[float, typer.Option(min=0.01, help="Searches per second, sent without waiting for earlier answers.")]
Seconds = Annotated[float, typer.Option(min=1, help="Duration of each measurement.")]
WarmUp = Annotated[float, typer.Option(min=0, help="Seconds of warm-up before each measurement.")]
Kind = Annotated[
    Arrivals, typer.Option("--arrivals", help="Arrival of searches: at random times (poisson) or evenly (fixed).")
]
Candidates = Annotated[int, typer.Option(min=1, max=400, help="Number of candidates of each search.")]
Dummy = Annotated[
    str | None,
    typer.Option(
        "--dummy-weights",
        help="Random weights of these shapes, for speed only: qwen3-0.6b, qwen3-4b, qwen3-8b, or a folder "
        "with a config.json.",
    ),
]
Plot = Annotated[Path | None, typer.Option(help="File for a figure: .png or .svg.")]


@bench_app.command()
def ingest(
    data: Data = None,
    texts: Annotated[int, typer.Option(min=1, help="Number of generated texts.")] = 2000,
    tokens: Tokens = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    bare: Annotated[bool, typer.Option(help="Also measure the bare engine (only with a node of this command).")] = True,
    langchain: Annotated[bool, typer.Option("--langchain", help="Also measure LangChain's usual way.")] = False,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """Measure how fast documents become searchable, compared with the bare engine on the same chunks."""
    from app.cli.bench.run import Output, bench_ingest

    bench_ingest(
        _choice(url, api_key, dummy_weights),
        data=data,
        texts=texts,
        tokens=tokens,
        rounds=rounds,
        bare=bare,
        langchain=langchain,
        output=Output(output, plot),
        console=_console(output),
    )


@bench_app.command()
def search(
    rate: Rate = 5,
    seconds: Seconds = 30,
    warm_up: WarmUp = 5,
    arrivals: Kind = "poisson",
    candidates: Candidates = 50,
    data: Data = None,
    tokens: Tokens = 256,
    pool: Pool = 2000,
    one_by_one: Annotated[
        int, typer.Option(min=0, help="Number of sequential searches first, to measure the overhead of the service.")
    ] = 100,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """Measure the latency of reranked searches at a given rate: percentiles by stage."""
    from app.cli.bench.run import Output, bench_search

    bench_search(
        _choice(url, api_key, dummy_weights),
        _load(rate, seconds, warm_up, arrivals, candidates),
        data=data,
        tokens=tokens,
        pool=pool,
        one_by_one=one_by_one,
        output=Output(output, plot),
        console=_console(output),
    )


@bench_app.command()
def mixed(
    rate: Rate = 5,
    seconds: Seconds = 30,
    warm_up: WarmUp = 5,
    arrivals: Kind = "poisson",
    candidates: Candidates = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds.")] = 3,
    data: Data = None,
    tokens: Tokens = 256,
    pool: Pool = 2000,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """Measure searches and saturating ingestion alone and together."""
    from app.cli.bench.run import Output, bench_mixed

    bench_mixed(
        _choice(url, api_key, dummy_weights),
        _load(rate, seconds, warm_up, arrivals, candidates),
        data=data,
        tokens=tokens,
        pool=pool,
        rounds=rounds,
        output=Output(output, plot),
        console=_console(output),
    )


@bench_app.command()
def engines(
    tokens: Annotated[
        tuple[int, int], typer.Option(help="Tokens of the embedded texts: short ones and chunk-sized ones.")
    ] = (64, 256),
    pools: Annotated[tuple[int, int, int], typer.Option(help="Candidates of a rerank call.")] = (20, 50, 100),
    candidate_tokens: Annotated[int, typer.Option(min=8, help="Tokens of each candidate.")] = 256,
    candidates: Candidates = 50,
    rate: Rate = 5,
    seconds: Seconds = 10,
    warm_up: WarmUp = 2,
    arrivals: Kind = "poisson",
    repeats: Annotated[int, typer.Option(min=1, help="Number of rerank calls of each size.")] = 20,
    bare: Annotated[bool, typer.Option(help="Also measure vLLM's AsyncLLM with the same arguments.")] = True,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
) -> None:
    """Measure the engines and the gate without HTTP and stores, compared with the bare engines."""
    from app.cli.bench.engine_speeds import EngineLoad
    from app.cli.bench.run import Output, bench_engines

    load = EngineLoad(
        lengths=tokens,
        pools=pools,
        candidates=candidates,
        tokens=candidate_tokens,
        rate=rate,
        seconds=seconds,
        warm_up=warm_up,
        arrivals=arrivals,
        repeats=repeats,
    )
    bench_engines(load, dummy_weights=dummy_weights, bare=bare, output=Output(output, None), console=_console(output))


@bench_app.command()
def keys(
    count: Annotated[int, typer.Option("--keys", min=1, help="Number of stored keys.")] = 10_000,
    requests: Annotated[int, typer.Option(min=1, help="Number of checks of each kind.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Measure what checking a stored API key adds to a request: SQLite, or the database in TANDEM_DATABASE_URL."""
    from app.cli.bench.keys import bench_keys
    from app.settings import load_settings

    bench_keys(load_settings(), messages() if as_json else results(), keys=count, requests=requests, as_json=as_json)


@bench_app.command()
def groups(
    chunks: Annotated[int, typer.Option(min=1, help="Chunks of the collection.")] = 20_000,
    count: Annotated[int, typer.Option("--groups", min=1, max=1000, help="Groups that may read some of them.")] = 1000,
    requests: Annotated[int, typer.Option(min=1, help="Number of searches of each kind.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Measure what groups add to recall in a collection with principals: Milvus Lite, or TANDEM_MILVUS_URI."""
    from app.cli.bench.groups import bench_groups
    from app.settings import load_settings

    console = messages() if as_json else results()
    bench_groups(load_settings(), console, chunks=chunks, groups=count, requests=requests, as_json=as_json)


def _console(output: Path | None) -> "Console":
    """Returns the console for progress: stderr if the JSON goes to stdout."""
    return messages() if output == STDOUT else results()


def _choice(url: str | None, api_key: str | None, dummy_weights: str | None) -> "NodeChoice":
    from app.cli.bench.node import NodeChoice

    return NodeChoice(url, api_key, dummy_weights)


def _load(rate: float, seconds: float, warm_up: float, arrivals: Arrivals, candidates: int) -> "Load":
    from app.cli.bench.load.searching import Load

    return Load(rate, seconds, warm_up, arrivals, candidates, top_k=min(HITS, candidates))
