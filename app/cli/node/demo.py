"""tandem demo: starts a node, ingests the samples and the documentation, and runs three searches."""

from rich.console import Console
from rich.rule import Rule

from app import ROOT
from app.cli.client.files import FileFilter, find_files, link_reporter
from app.cli.client.ingest import ingest_files, summarise
from app.cli.client.node_client import Client
from app.cli.client.search import show_hits
from app.cli.console import step_reporter, wait_for_interrupt
from app.cli.node.spawn import running_node
from app.node.node import DEFAULT_COLLECTION
from app.settings import Settings
from retrieval.device.detect import find_device

DEPLOY = ROOT / "deploy"
SAMPLES = DEPLOY / "samples"
DOCS = DEPLOY / "docs"
QUESTIONS = (
    "What is checked before the service takes its first question?",
    "磁盘满了会怎样？",
    "如何更换集合的向量模型？",
)
TOP_K = 4


def demo(settings: Settings, console: Console) -> int:
    """Returns the exit status. On a terminal the node runs until Ctrl-C; elsewhere it ends at once."""
    models = settings.models or "e5"
    console.print(f"Starting a node with the models [bold]{models}[/bold].")
    environment = {"TANDEM_MODELS": models}
    if find_device() == "cpu":
        # Compiled engines are 7 % faster (two cores, all-MiniLM-L6-v2), but their first start takes half a minute
        # longer.
        environment["TANDEM_ENFORCE_EAGER"] = "true"
    with (
        console.status("Starting") as status,
        running_node(settings, environment, on_step=step_reporter(console, status)) as client,
    ):
        status.stop()
        healthy = _show(client, console)
        console.print(f"\nThe node answers at [bold]{client.url}[/bold] (API: {client.url}/docs)")
        console.print(f'Ask it yourself: tandem search "…" --url {client.url}', markup=False)
        if console.is_terminal:
            console.print("Ctrl-C stops it.")
            wait_for_interrupt()
    return 0 if healthy else 1


def _show(client: Client, console: Console) -> bool:
    files = find_files([SAMPLES, DOCS], FileFilter(exclude=("images/**",)), link_reporter(console))
    console.print(f"Ingesting {len(files)} documents from {SAMPLES} and {DOCS}")
    healthy = summarise(ingest_files(client, DEFAULT_COLLECTION, files, console), console)
    for question in QUESTIONS:
        console.print()
        console.print(Rule(question, align="left"))
        answer = client.search(question, collection=DEFAULT_COLLECTION, top_k=TOP_K)
        show_hits(answer, console)
        healthy = healthy and answer["rerank"]["applied"] and bool(answer["hits"])
    return healthy
