"""tandem models: the available pairs, the installed models, and downloads with progress."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from app.cli.console import ProgressLog, animated
from app.cli.exit_codes import print_json
from app.settings import Settings
from retrieval.models.files import InstalledModel, installed
from retrieval.models.hub import ModelHub, packaged_folder, packaged_weights
from retrieval.models.profiles import PROFILES, Model, ModelProfile


def list_models(settings: Settings, console: Console, *, as_json: bool = False) -> None:
    here = {model.name: model for model in installed(settings.models_dir)}
    if as_json:
        print_json(_record(settings, here))
        return
    table = Table(title="Model pairs (TANDEM_MODELS)", title_justify="left")
    for column in ("pair", "embedder", "reranker", "dimension", "download", "here"):
        table.add_column(column, justify="right" if column in ("dimension", "download") else "left")
    for pair in PROFILES:
        rerank = "the same, late interaction" if pair.rerank == pair.embed else pair.rerank.id
        size = f"{_download(pair) / 1e9:.1f} GB"
        table.add_row(pair.name, pair.embed.id, rerank, str(pair.embed.dimension), size, _here(pair, here))
    console.print(table)
    for model in here.values():
        state = "complete" if model.complete else "incomplete: " + ", ".join(model.missing)
        console.print(f"{model.name}: {model.bytes / 1e9:.2f} GB in {model.folder}, {state}", markup=False)
    console.print(f"Downloads go to {settings.models_dir} (TANDEM_MODELS_DIR).", markup=False)


async def pull_models(
    settings: Settings, name: str, console: Console, progress: Console, *, as_json: bool = False
) -> None:
    """Downloads models. `name` is a pair, or the id of one model. Raises ModelUnavailable."""
    pair = next((pair for pair in PROFILES if pair.name == name), None)
    ids = list(dict.fromkeys([pair.embed.id, pair.rerank.id])) if pair else [name]
    hub = ModelHub(settings.models_dir)
    pulled = []
    with _Downloads(progress) as downloads:
        for id_ in ids:
            folder = await hub.resolve(id_, downloads.of(id_))
            pulled.append({"model": id_, "folder": str(folder)})
            if not as_json:
                console.print(f"{id_}: {folder}", markup=False)
    if as_json:
        print_json({"models": pulled})


class _Downloads:
    """Shows a bar for each file, or an occasional line where no bar can be drawn."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, console=console, disable=not animated(console))
        self._log = ProgressLog(console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Downloads":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def of(self, model: str) -> Callable[[str, int, int], None]:
        """Returns a callback for the files of one model: name, received bytes, total bytes."""

        def report(file: str, done: int, total: int) -> None:
            name = f"{model} {file}"
            if name not in self._tasks:
                self._tasks[name] = self._bar.add_task(name, total=total)
            self._bar.update(self._tasks[name], completed=done, total=total)
            self._log.report(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        return report


def _record(settings: Settings, here: Mapping[str, InstalledModel]) -> dict[str, Any]:
    pairs = [
        {
            "pair": pair.name,
            "embed": pair.embed.id,
            "rerank": pair.rerank.id,
            "dimension": pair.embed.dimension,
            "download_bytes": _download(pair),
            "here": _here(pair, here),
        }
        for pair in PROFILES
    ]
    models = [
        {"model": each.name, "folder": str(each.folder), "bytes": each.bytes, "missing": list(each.missing)}
        for each in here.values()
    ]
    return {"pairs": pairs, "models": models, "folder": str(settings.models_dir)}


def _models(pair: ModelProfile) -> list[Model]:
    return list({model.id: model for model in (pair.embed, pair.rerank)}.values())


def _download(pair: ModelProfile) -> int:
    """Returns the number of bytes."""
    return sum(model.weights_bytes or 0 for model in _models(pair))


def _here(pair: ModelProfile, here: Mapping[str, InstalledModel]) -> str:
    def is_here(model: Model) -> bool:
        downloaded = model.id in here and here[model.id].complete
        return downloaded or bool(packaged_folder(model.id) or packaged_weights(model))

    states = ["yes" if is_here(model) else "no" for model in _models(pair)]
    return "yes" if set(states) == {"yes"} else "partly" if "yes" in states else "no"
