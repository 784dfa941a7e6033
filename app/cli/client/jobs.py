"""tandem jobs: the progress of ingestion, and its cancellation."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from app.cli.client.ingest import Ingesting, show_skipped, summarise
from app.cli.client.node_client import Client
from app.cli.console import messages, results
from app.cli.exit_codes import Exit, print_json
from app.cli.options import NODE, ApiKey, AsJson, Url

jobs_app = typer.Typer(no_args_is_help=True, help="Jobs: how far ingestion is, and an end to it.")
Jobs = Annotated[list[str], typer.Argument(help="Ids of jobs.", metavar="JOB...")]


@jobs_app.command()
def show(
    job: Annotated[str, typer.Argument(help="Id of the job.")],
    as_json: AsJson = False,
    url: Url = NODE,
    api_key: ApiKey = None,
) -> None:
    """Show the state of a job and the receipts of its documents."""
    with Client(url, api_key) as client:
        found = client.job(job, receipts=True)
    if as_json:
        print_json(found)
        return
    _show_job(found, results())
    show_skipped(found, results())
    summarise(found["documents"], results())


@jobs_app.command()
def watch(jobs: Jobs, as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """Wait until jobs have ended. Exit status 1 if documents failed."""
    ended = []
    with Client(url, api_key) as client:
        for job_id in jobs:
            with Ingesting(messages(), client.job(job_id)["progress"]["documents"]) as progress:
                for job in client.watch(job_id):
                    progress.done(job["progress"]["done"])
            ended.append(client.job(job_id, receipts=True))
    if as_json:
        print_json({"jobs": ended})
    else:
        for job in ended:
            _show_job(job, results())
            show_skipped(job, results())
            summarise(job["documents"], results())
    if any(job["progress"]["failed"] for job in ended):
        raise typer.Exit(Exit.FAILURES)


@jobs_app.command()
def cancel(jobs: Jobs, as_json: AsJson = False, url: Url = NODE, api_key: ApiKey = None) -> None:
    """Cancel the unfinished documents of jobs."""
    with Client(url, api_key) as client:
        cancelled = cancel_jobs(client, jobs, messages() if as_json else results())
    if as_json:
        print_json({"jobs": cancelled})


def cancel_jobs(client: Client, job_ids: Sequence[str], console: Console) -> list[dict[str, Any]]:
    """Cancels jobs, prints the state of each, and returns them."""
    cancelled = []
    for job_id in job_ids:
        cancelled.append(client.cancel(job_id))
        _show_job(cancelled[-1], console)
    return cancelled


def _show_job(job: dict[str, Any], console: Console) -> None:
    progress = job["progress"]
    line = f"{job['job_id']}: {job['state']}, {progress['done']} of {progress['documents']} documents have ended"
    console.print(line, highlight=False, soft_wrap=True)
