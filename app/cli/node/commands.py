"""Commands that examine this machine or measure: doctor, plan, migrate, backup,
restore, models, eval.

Their implementation is imported when they are called, as in app.cli.main.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.cli.completion import model_names, pair_names
from app.cli.console import messages, results
from app.cli.exit_codes import Exit
from app.cli.options import STDOUT, ApiKey, AsJson, JsonFile, OwnUrl
from retrieval.search.query import Mode

local_app = typer.Typer()
models_app = typer.Typer(no_args_is_help=True, help="Model pairs and downloads.")
local_app.add_typer(models_app, name="models")


@local_app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine and the settings, and suggest repairs. Exit status 1 if a node cannot start."""
    from app.cli.node.doctor import doctor as run_doctor
    from app.settings import load_settings

    if not asyncio.run(run_doctor(load_settings(), results(), as_json=as_json)):
        raise typer.Exit(Exit.FAILURES)


@local_app.command()
def plan(
    models: Annotated[str | None, typer.Option(help="Model pair (TANDEM_MODELS).", autocompletion=pair_names)] = None,
    embed: Annotated[
        str | None, typer.Option(help="Another embedding model: id or folder (TANDEM_EMBED_MODEL).")
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Another reranking model: id or folder (TANDEM_RERANK_MODEL).")
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(min=1, help="Memory of the device in GB. Default: the memory of the device found here."),
    ] = None,
    window: Annotated[int | None, typer.Option(min=64, help="Longest input in tokens (TANDEM_MAX_MODEL_LEN).")] = None,
    step: Annotated[
        int | None, typer.Option(min=64, help="Maximum number of tokens that an engine computes at once.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weight format: bfloat16, fp8 or int4 (GPTQ, AWQ). Default: from config.json.")
    ] = None,
    tensor_parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Number of devices that each model is split over (TANDEM_TENSOR_PARALLEL)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Plan the device memory of both models: whether they fit, and with which limits. Exit status 1 if they do not
    fit."""
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


@local_app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the catalog's schema to this release. A node does so at its start; in a cluster, do it before."""
    from app.cli.node.migrate import migrate as run_migrate
    from app.settings import load_settings

    asyncio.run(run_migrate(load_settings(), results(), as_json=as_json))


@local_app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write (.tar.gz).", dir_okay=False)], as_json: AsJson = False
) -> None:
    """Save the data folder of a stopped node: catalog, originals and vectors in one archive."""
    from app.cli.node.backup import backup as run_backup
    from app.settings import load_settings

    run_backup(load_settings(), file, results(), as_json=as_json)


@local_app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="Archive that `tandem backup` wrote.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Restore a backup into the data folder, which has to be empty."""
    from app.cli.node.backup import restore as run_restore
    from app.settings import load_settings

    run_restore(load_settings(), file, results(), as_json=as_json)


@models_app.command("list")
def models_list(as_json: AsJson = False) -> None:
    """List the model pairs, and which models are downloaded."""
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
    """Download models, from ModelScope first. An interrupted download resumes."""
    from app.cli.node.models import pull_models
    from app.settings import load_settings

    asyncio.run(pull_models(load_settings(), name, results(), messages(), as_json=as_json))


@local_app.command("eval")
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders with labelled collections.")],
    queries: Annotated[
        str | None, typer.Option(help="File of queries in each folder. Default: queries.small.jsonl, if present.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Measure only this mode. Default: all three.")] = None,
    variants: Annotated[
        bool,
        typer.Option(
            "--variants", help="Send each query with variants made from it: without stop words, and keywords alone."
        ),
    ] = False,
    candidates: Annotated[int, typer.Option(min=10, max=400, help="Number of candidates to rerank.")] = 50,
    url: OwnUrl = None,
    api_key: ApiKey = None,
    output: JsonFile = None,
    plot: Annotated[Path | None, typer.Option(help="File for a figure of nDCG@10: .png or .svg.")] = None,
    baseline: Annotated[
        Path | None, typer.Option("--compare", help="File of an earlier run (--json) to compare with.")
    ] = None,
    fail_if_worse: Annotated[
        bool,
        typer.Option(
            "--fail-if-worse",
            help="With --compare, exit with status 1 if nDCG@10 is significantly lower or a row is missing.",
        ),
    ] = False,
) -> None:
    """Measure search on judged collections: by words (BM25), by vectors and by both, without and with reranking.

    DIR is a folder in BEIR's layout:

    - corpus.jsonl: {"_id", "title", "text"} a line

    - queries.jsonl: {"_id", "text"} a line

    - qrels.tsv or qrels/test.tsv: query-id, corpus-id, score, tab separated, under a header; above 0 is relevant

    The documents are ingested into a temporary collection, which is deleted afterwards.
    """
    from app.cli.evaluate.evaluate import evaluate_folders

    if fail_if_worse and baseline is None:
        raise typer.BadParameter("wants --compare.", param_hint="--fail-if-worse")
    as_good = evaluate_folders(
        folders,
        messages() if output == STDOUT else results(),
        queries=queries,
        mode=mode,
        variants=variants,
        pool=candidates,
        url=url,
        api_key=api_key,
        output=output,
        plot=plot,
        baseline=baseline,
    )
    if fail_if_worse and not as_good:
        raise typer.Exit(Exit.FAILURES)
