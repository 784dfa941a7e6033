"""Commands that look at this machine or measure: doctor, plan, models, eval, bench-catalog.

What they run is imported when they are called, as in app.cli.main.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.cli.completion import model_names, pair_names
from app.cli.console import messages, results
from app.cli.exit_codes import Exit
from app.cli.options import STDOUT, ApiKey, AsJson, JsonFile, OwnUrl

local_app = typer.Typer()
models_app = typer.Typer(no_args_is_help=True, help="The models that can serve, and those that are here.")
local_app.add_typer(models_app, name="models")


@local_app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine and the settings, and say what to mend. Status 1 where a node could not start."""
    from app.cli.node.doctor import doctor as run_doctor
    from app.settings import load_settings

    if not asyncio.run(run_doctor(load_settings(), results(), as_json=as_json)):
        raise typer.Exit(Exit.FAILURES)


@local_app.command()
def plan(
    models: Annotated[str | None, typer.Option(help="Model pair (TANDEM_MODELS).", autocompletion=pair_names)] = None,
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
    tensor_parallel: Annotated[
        int | None, typer.Option(min=1, help="Devices that each model is split over (TANDEM_TENSOR_PARALLEL).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether both models fit a device, with which limits and shares of its memory. Status 1 where they do not."""
    from app.cli.node.plan import plan_memory
    from app.settings import load_settings

    given = {
        "models": models,
        "embed_model": embed,
        "rerank_model": rerank,
        "max_model_len": window,
        "tensor_parallel": tensor_parallel,
    }
    fits = plan_memory(
        load_settings(**{name: value for name, value in given.items() if value is not None}),
        results(),
        memory_gb=memory,
        step_tokens=step,
        weights=weights,
        as_json=as_json,
    )
    if not fits:
        raise typer.Exit(Exit.FAILURES)


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """Show the model pairs, and which models are here."""
    from app.cli.node.models import list_models
    from app.settings import load_settings

    list_models(load_settings(), results(), as_json=as_json)


@models_app.command("pull")
def models_pull(
    name: Annotated[
        str, typer.Argument(help="A pair such as qwen3-0.6b, or a model's id.", autocompletion=model_names)
    ],
    as_json: AsJson = False,
) -> None:
    """Download models: ModelScope first. Broken off, it resumes."""
    from app.cli.node.models import pull_models
    from app.settings import load_settings

    asyncio.run(pull_models(load_settings(), name, results(), messages(), as_json=as_json))


@local_app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Judged collections, one a folder.")],
    queries: Annotated[
        str | None, typer.Option(help="File of queries in each folder. Default: queries.small.jsonl, if any.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=10, max=400, help="Pool that is reranked.")] = 50,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    output: JsonFile = None,
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
    from app.cli.evaluate.evaluate import evaluate_folders

    if fail_if_worse and baseline is None:
        raise typer.BadParameter("wants --compare.", param_hint="--fail-if-worse")
    as_good = evaluate_folders(
        folders,
        messages() if output == STDOUT else results(),
        queries=queries,
        pool=candidates,
        url=url,
        api_key=api_key,
        output=output,
        plot=plot,
        baseline=baseline,
    )
    if fail_if_worse and not as_good:
        raise typer.Exit(Exit.FAILURES)


@local_app.command("bench-catalog")
def bench_catalog(
    documents: Annotated[int, typer.Option(min=1, help="How many pass through.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Measure the catalog alone: SQLite, or the empty database of TANDEM_DATABASE_URL."""
    from app.cli.bench.catalog import bench_catalog as run_bench_catalog
    from app.settings import load_settings

    run_bench_catalog(load_settings(), messages() if as_json else results(), documents=documents, as_json=as_json)
