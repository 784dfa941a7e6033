"""The commands `tandem bench …`. What they run is imported when they are called, as in app.cli.main."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bench.measures import Arrivals
from app.cli.console import messages, results
from app.cli.options import STDOUT, ApiKey, JsonFile, OwnUrl

if TYPE_CHECKING:
    from rich.console import Console

    from app.cli.bench.node import NodeChoice
    from app.cli.bench.searching import Load

bench_app = typer.Typer(no_args_is_help=True, help="Speed and load, measured through a node's HTTP interface.")

HITS = 10
"""That a search returns."""

Data = Annotated[
    Path | None, typer.Option("--data", help="Judged collection, as for `tandem eval`. Default: texts made up.")
]
Tokens = Annotated[int, typer.Option(min=8, help="Tokens of each text that is made up.")]
Pool = Annotated[int, typer.Option(min=1, help="Documents made up to be searched.")]
Rate = Annotated[float, typer.Option(min=0.01, help="Searches a second, sent whether or not earlier ones are back.")]
Seconds = Annotated[float, typer.Option(min=1, help="Of each measurement.")]
WarmUp = Annotated[float, typer.Option(min=0, help="Seconds before it that do not count.")]
Kind = Annotated[Arrivals, typer.Option("--arrivals", help="Searches come at random moments, or evenly.")]
Candidates = Annotated[int, typer.Option(min=1, max=400, help="Pool that each search reranks.")]
Dummy = Annotated[
    str | None,
    typer.Option(
        "--dummy-weights",
        help="Without models: qwen3-0.6b, qwen3-4b, qwen3-8b, or a folder with a config.json. Only speeds count.",
    ),
]
Plot = Annotated[Path | None, typer.Option(help="Draw it there: a .png or .svg.")]


@bench_app.command()
def ingest(
    data: Data = None,
    texts: Annotated[int, typer.Option(min=1, help="How many are made up.")] = 2000,
    tokens: Tokens = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Times that the engine and the service are measured.")] = 3,
    bare: Annotated[bool, typer.Option(help="Measure the bare engine beside it (a node of its own only).")] = True,
    langchain: Annotated[bool, typer.Option("--langchain", help="Measure LangChain's usual way beside it.")] = False,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """How fast documents become searchable, beside what the bare engine does with the same chunks."""
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
        int, typer.Option(min=0, help="Searches one after the other first, for what the service adds to its calls.")
    ] = 100,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """How long reranked searches take at a given rate: percentiles, by stage."""
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
    rounds: Annotated[int, typer.Option(min=1, help="Times that everything is measured.")] = 3,
    data: Data = None,
    tokens: Tokens = 256,
    pool: Pool = 2000,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
    plot: Plot = None,
) -> None:
    """Searches and saturating ingestion, each alone and both at once: what one does to the other."""
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
        tuple[int, int], typer.Option(help="Tokens of the texts embedded: short ones, and ones as chunks are.")
    ] = (64, 256),
    pools: Annotated[tuple[int, int, int], typer.Option(help="Candidates of a rerank.")] = (20, 50, 100),
    candidate_tokens: Annotated[int, typer.Option(min=8, help="Tokens of each candidate.")] = 256,
    candidates: Candidates = 50,
    rate: Rate = 5,
    seconds: Seconds = 10,
    warm_up: WarmUp = 2,
    arrivals: Kind = "poisson",
    repeats: Annotated[int, typer.Option(min=1, help="Reranks of each size.")] = 20,
    bare: Annotated[bool, typer.Option(help="Measure vLLM's own AsyncLLM with the same arguments beside them.")] = True,
    dummy_weights: Dummy = None,
    output: JsonFile = None,
) -> None:
    """What the engines and the gate do by themselves, without HTTP and stores, beside the bare engines."""
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


def _console(output: Path | None) -> "Console":
    """stdout is the file's where that is what `--json -` says."""
    return messages() if output == STDOUT else results()


def _choice(url: str | None, api_key: str | None, dummy_weights: str | None) -> "NodeChoice":
    from app.cli.bench.node import NodeChoice

    return NodeChoice(url, api_key, dummy_weights)


def _load(rate: float, seconds: float, warm_up: float, arrivals: Arrivals, candidates: int) -> "Load":
    from app.cli.bench.searching import Load

    return Load(rate, seconds, warm_up, arrivals, candidates, top_k=min(HITS, candidates))
