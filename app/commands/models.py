"""tandem models: the pairs that can serve, what is here, and downloads with progress."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from app.settings import Settings
from retrieval.model_files import InstalledModel, installed
from retrieval.model_hub import ModelHub, packaged_folder
from retrieval.models import PROFILES, Model, ModelProfile


def list_models(settings: Settings, console: Console) -> None:
    here = {model.name: model for model in installed(settings.models_dir)}
    table = Table(title="Model pairs (TANDEM_MODELS)", title_justify="left")
    for column in ("pair", "embedder", "reranker", "dimension", "download", "here"):
        table.add_column(column, justify="right" if column in ("dimension", "download") else "left")
    for pair in PROFILES:
        rerank = "the same, late interaction" if pair.rerank == pair.embed else pair.rerank.id
        table.add_row(pair.name, pair.embed.id, rerank, str(pair.embed.dimension), _download(pair), _here(pair, here))
    console.print(table)
    for model in here.values():
        state = "complete" if model.complete else "incomplete: " + ", ".join(model.missing)
        console.print(f"{model.name}: {model.bytes / 1e9:.2f} GB in {model.folder}, {state}", markup=False)
    console.print(f"Downloads go to {settings.models_dir} (TANDEM_MODELS_DIR).", markup=False)


async def pull_models(settings: Settings, name: str, console: Console) -> None:
    """`name`: a pair, or the id of one model. Raises ModelUnavailable."""
    pair = next((pair for pair in PROFILES if pair.name == name), None)
    ids = list(dict.fromkeys([pair.embed.id, pair.rerank.id])) if pair else [name]
    hub = ModelHub(settings.models_dir)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console
    )
    with bar:
        for id_ in ids:
            folder = await hub.resolve(id_, _Bars(bar, id_))
            console.print(f"{id_}: {folder}", markup=False)


class _Bars:
    """A progress callback that draws one bar a file."""

    def __init__(self, bar: Progress, model: str) -> None:
        self._bar = bar
        self._model = model
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, file: str, done: int, total: int) -> None:
        task = self._tasks.get(file)
        if task is None:
            task = self._tasks[file] = self._bar.add_task(f"{self._model} {file}", total=total)
        self._bar.update(task, completed=done, total=total)


def _models(pair: ModelProfile) -> list[Model]:
    return list({model.id: model for model in (pair.embed, pair.rerank)}.values())


def _download(pair: ModelProfile) -> str:
    return f"{sum(model.weights_bytes or 0 for model in _models(pair)) / 1e9:.1f} GB"


def _here(pair: ModelProfile, here: dict[str, InstalledModel]) -> str:
    states = [
        "yes" if packaged_folder(model.id) or (model.id in here and here[model.id].complete) else "no"
        for model in _models(pair)
    ]
    return "yes" if set(states) == {"yes"} else "partly" if "yes" in states else "no"
