"""What one node makes of several devices: `python deploy/benchmarks/several_gpus.py --out FOLDER`.

Writes results.json and results.md to the folder after every part, so that a run that is cut off leaves what it found.
Weights are made up of the models' shapes: nothing is downloaded, and answers mean nothing. On a CPU, where groups of
engines stand for devices, it shows that the parts work, with `--shapes` of a folder whose config.json is small.

Parts, for each number in --devices:
  engines  the engines and gates without HTTP and stores: tokens a second embedded, and a rerank's time against its
           pool, on one device and spread over those that are idle
  mixed    a node: searches alone, ingestion alone, both at once
  search   the highest rate of searches whose p99 stays below --p99
With more than one device:
  faults   one device's engines killed, then one hung, each under searches and ingestion
  split    each model of --split-shapes split over the devices, compared with one device with the whole of it
"""

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import httpx
import psutil
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.cli.bench.engine_speeds import EngineLoad, Prompts, embed_rate, rerank_times
from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Load, Question, Searched, search_open_loop
from app.cli.bench.measures import Summary, arrivals, ingested
from app.cli.bench.mixed import measure_mixed
from app.cli.bench.mixed_result import TITLES, ratios_of
from app.cli.bench.node import MeasuredNode, choose_corpus, describe_machine, dummy_settings
from app.cli.bench.search import search_at_rate
from app.cli.node.spawn import running_node
from app.settings import PREFIX, load_settings
from app.wiring.models import build_models, build_profile
from app.wiring.placement import check_memory
from app.wiring.plan_table import plan_record
from retrieval.device.devices import Devices
from retrieval.engines.cross_encoder import CrossEncoderReranker
from retrieval.engines.over_devices import SPREAD_TOKENS, OverDevices
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.types import Lane, TokenIds

PARTS = ("engines", "mixed", "search", "faults", "split")
HOST_PROGRAM = "retrieval.engines.vllm.host"
SEEN_BY = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "VLLM_CPU_OMP_THREADS_BIND")
"""What tells one device's engines from another's, in their environment."""
SEARCH_STEPS = 5
"""Halvings of the range in which the highest rate lies."""
POLL_SECONDS = 0.2
BACK_SECONDS = 240.0
"""In which a device has to come back."""
LOG_BYTES = 400_000

console = Console(stderr=True, width=160)


@dataclass(slots=True)
class Run:
    """The options, and what was found so far."""

    asked: argparse.Namespace
    started: float = field(default_factory=monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        return float(self.asked.budget) - (monotonic() - self.started)

    def write(self) -> None:
        record = {
            "command": " ".join(sys.argv),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "parts": self.found,
        }
        (self.asked.out / "results.json").write_text(json.dumps(record, indent=1))
        machine = record["machine"]
        head = [f"`{record['command']}`, {record['at']}", "", json.dumps(machine), ""]
        (self.asked.out / "results.md").write_text("\n".join([*head, *self.lines]) + "\n")

    def part(self, name: str, seconds: float, measure: Callable[[], Any]) -> None:
        """Measures and keeps it, if about `seconds` are left; whatever goes wrong with it is kept instead."""
        if self.left < seconds:
            self.found[name] = {"skipped": f"{self.left:.0f} s left, about {seconds:.0f} needed"}
            console.print(f"{name}: skipped", markup=False)
        else:
            began = monotonic()
            console.print(f"{name}: begins, {self.left:.0f} s left", markup=False)
            try:
                self.found[name] = measure()
            except Exception as error:  # noqa: BLE001  # the other parts are still worth measuring
                self.found[name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
                console.print(f"{name}: {self.found[name]}", markup=False)
                self.lines += ["", f"**{name} failed:** {type(error).__name__}: {str(error)[:300]}"]
            console.print(f"{name}: {monotonic() - began:.0f} s", markup=False)
        self.write()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.lines += ["", f"### {title}", "", row_of(columns), row_of(["---"] * len(columns))]
        self.lines += [row_of(row) for row in rows]
        console.print("\n".join(self.lines[-len(rows) - 4 :]), markup=False)


def row_of(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


# Engines without a node


def measure_engines(run: Run, devices: int, dummies: Mapping[str, object]) -> dict[str, Any]:
    settings = load_settings(**dummies, devices=str(devices))
    return asyncio.run(_engines(run, devices, settings))


async def _engines(run: Run, devices: int, settings: Any) -> dict[str, Any]:
    asked = run.asked
    load = EngineLoad(
        lengths=(64, asked.tokens),
        pools=tuple(asked.pools),
        candidates=asked.candidates,
        tokens=asked.tokens,
        rate=1,
        seconds=asked.seconds / 2,
        warm_up=2,
        arrivals="fixed",
        repeats=asked.repeats,
    )
    began = monotonic()
    models = await build_models(settings, lambda _: None)
    embedder, reranker, placed = models.embedder, models.reranker, models.devices
    assert isinstance(embedder, VllmEmbedder)
    assert isinstance(reranker, CrossEncoderReranker)
    try:
        await gather_or_cancel([embedder.start(), reranker.start()])
        start_seconds = monotonic() - began
        return await _engine_figures(run, devices, placed, embedder, reranker, load, start_seconds)
    finally:
        await gather_or_cancel([embedder.close(), reranker.close()])


async def _engine_figures(
    run: Run,
    devices: int,
    placed: Devices,
    embedder: VllmEmbedder,
    reranker: CrossEncoderReranker,
    load: EngineLoad,
    start_seconds: float,
) -> dict[str, Any]:
    prompts = Prompts(embedder.tokenizer.get_vocab_size(), reranker.engine.options.max_model_len)
    options = placed[0].gate.options
    ahead = len(placed) * (2 * options.slots + 1)

    async def embed(ids: Sequence[TokenIds]) -> None:
        await embedder.engine.encode(ids, lane=Lane.BULK)

    async def rerank(ids: Sequence[TokenIds]) -> None:
        await reranker.engine.encode(ids, lane=Lane.INTERACTIVE)

    embedded = [await embed_rate(embed, prompts, n, load, options.slice_tokens, ahead) for n in load.lengths]
    over = reranker.engine
    assert isinstance(over, OverDevices)
    times: dict[str, list[Summary]] = {}
    for name, tokens in (("one device", None), ("spread", SPREAD_TOKENS)):
        if devices > 1 or tokens is None:
            over.spread_tokens = tokens
            times[name] = [(await rerank_times(rerank, prompts, pool, load)).times for pool in load.pools]
    at_once = await _closed_loop(rerank, prompts, load, 8 * len(placed))
    run.table(
        f"Engines alone, {devices} devices (started in {start_seconds:.0f} s)",
        ("", *(f"{pool} × {load.tokens}" for pool in load.pools)),
        [
            *((f"rerank p50 ms, {name}", *(one.p50 for one in each)) for name, each in times.items()),
            *((f"rerank p99 ms, {name}", *(one.p99 for one in each)) for name, each in times.items()),
        ],
    )
    rates = ", ".join(f"{each.tokens_per_second:,.0f} tok/s of {each.tokens} tokens" for each in embedded)
    run.lines += ["", f"Embedding, {devices} devices: {rates}. {at_once:.1f} reranks/s of {load.candidates}, at once."]
    return {
        "start_seconds": start_seconds,
        "embed_tokens_per_second": {each.tokens: each.tokens_per_second for each in embedded},
        "rerank_ms": {
            name: dict(zip(load.pools, (one.to_json() for one in each), strict=True)) for name, each in times.items()
        },
        "reranks_per_second_at_once": at_once,
    }


async def _closed_loop(rerank: Any, prompts: Prompts, load: EngineLoad, callers: int) -> float:
    """Reranks a second of so many callers, each of which asks again at once."""
    pools = [prompts.reranked(load.candidates, load.tokens) for _ in range(2 * callers)]
    end, done = monotonic() + load.seconds, 0

    async def ask(number: int) -> None:
        nonlocal done
        while monotonic() < end:
            await rerank(pools[number % len(pools)][: load.candidates])
            done += 1
            number += callers

    began = monotonic()
    await gather_or_cancel(ask(number) for number in range(callers))
    return done / (monotonic() - began)


# A node


@contextmanager
def node_of(run: Run, name: str, **overrides: object) -> Iterator[tuple[MeasuredNode, float]]:
    """A node of its own with `overrides` as settings, and the seconds that it took to be ready. The end of its log goes
    to the folder of the results."""
    with TemporaryDirectory(prefix="tandem-gpus-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        changed = {
            **overrides,
            "data_dir": Path(folder),
            "host": "127.0.0.1",
            "port": port,
            "api_keys": token_urlsafe(32),
            "log_level": "info",
        }
        settings = load_settings(**changed)
        environment = {f"{PREFIX}{key.upper()}": str(value) for key, value in changed.items()}
        began, last = monotonic(), ""

        def report(step: str) -> None:
            nonlocal last
            if step != last:
                last = step
                console.print(f"  {monotonic() - began:5.1f} s {step[:300]}", markup=False)

        try:
            with running_node(settings, environment, on_step=report) as client:
                took = monotonic() - began
                console.print(f"  {name}: ready after {took:.0f} s", markup=False)
                yield MeasuredNode(client, settings.api_keys[0].get_secret_value(), settings), took
        finally:
            log = Path(folder) / "node.log"
            if log.exists():
                (run.asked.out / f"{name}.log").write_bytes(log.read_bytes()[-LOG_BYTES:])


def load_of(run: Run, rate: float, seconds: float) -> Load:
    return Load(rate, seconds, run.asked.warm_up, "poisson", run.asked.candidates, top_k=10)


def corpus_and_question(run: Run, node: MeasuredNode) -> tuple[Corpus, Question]:
    """The texts, and a collection of --pool of them to search."""
    corpus = choose_corpus(None, run.asked.tokens, node)
    name = node.new_collection(corpus)
    node.fill(name, corpus, run.asked.pool)
    return corpus, Question(name, run.asked.candidates, 10)


def measure_node(run: Run, devices: int, parts: Sequence[str], dummies: Mapping[str, object]) -> None:
    asked = run.asked
    with node_of(run, f"node-{devices}", **dummies, devices=str(devices)) as (node, took):
        run.found[f"node {devices}"] = {"ready_seconds": took, "health": node.client.ready()[1]}
        corpus, question = corpus_and_question(run, node)
        if "mixed" in parts:
            seconds = 3 * (asked.seconds + asked.warm_up) + 15
            run.part(f"mixed {devices}", seconds, partial(_mixed, run, devices, node, corpus))
        if "search" in parts:
            seconds = SEARCH_STEPS * (asked.seconds + asked.warm_up)
            run.part(f"search {devices}", seconds, partial(_highest_rate, run, devices, node, corpus, question))
        if "faults" in parts and devices > 1:
            for kind in ("kill", "stop"):
                run.part(f"faults {kind}", 60, partial(_fault, run, kind, node, corpus, question))


def _mixed(run: Run, devices: int, node: MeasuredNode, corpus: Corpus) -> dict[str, Any]:
    load = load_of(run, run.asked.rate * devices, run.asked.seconds)
    with processor_times() as used:
        mixed = measure_mixed(node, corpus, load, pool=run.asked.pool, rounds=1, console=console)
    (stretches,) = mixed.rounds
    rows = []
    for name, stretch in stretches.items():
        times = Summary.of(stretch.searched.times) if stretch.searched else Summary.of(())
        fed = stretch.ingested
        rows.append(
            (
                TITLES[name],
                times.count,
                times.p50 or "",
                times.p99 or "",
                len(stretch.searched.samples) - times.count if stretch.searched else "",
                f"{fed.tokens_per_second:,.0f}" if fed else "",
                f"{fed.texts_per_second:,.0f}" if fed else "",
                fed.least_waiting if fed else "",
            )
        )
    run.table(
        f"Node, {devices} devices, {load.rate:g} searches/s of {load.candidates} × {run.asked.tokens}",
        ("", "searches", "p50 ms", "p99 ms", "not answered whole", "ingested tok/s", "texts/s", "least waiting"),
        rows,
    )
    record = {name: stretch.to_json() for name, stretch in stretches.items()}
    for each in record.values():
        if isinstance(each["searches"], dict):
            each["searches"].pop("samples", None)
    cores = {name: round(share, 2) for name, share in used.items()}
    run.lines += ["", f"Cores busy on the average, by program: {cores}"]
    return {"stretches": record, "ratios": ratios_of(stretches).to_json(), "cores": cores, "rate": load.rate}


@contextmanager
def processor_times() -> Iterator[dict[str, float]]:
    """Filled in at the end: cores that each program of this run kept busy."""
    used: dict[str, float] = {}
    before, began = _processor_seconds(), monotonic()
    yield used
    took = monotonic() - began
    for key, (name, seconds) in _processor_seconds().items():
        spent = seconds - before.get(key, (name, 0.0))[1]
        if spent > 0.02 * took:
            used[name] = used.get(name, 0.0) + spent / took


def _processor_seconds() -> dict[tuple[int, float], tuple[str, float]]:
    found = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            command = process.cmdline()
            name = next((command[i + 1] for i, part in enumerate(command[:-1]) if part == "-m"), " ".join(command)[:40])
            if HOST_PROGRAM in name:
                name = f"{name} {' '.join(command[-2:])}"
            found[process.pid, process.create_time()] = (name, times.user + times.system)
    return found


def _highest_rate(run: Run, devices: int, node: MeasuredNode, corpus: Corpus, question: Question) -> dict[str, Any]:
    """By halving the range: searches alone."""
    low, high = 0.0, run.asked.highest * devices
    tried: list[tuple[Any, ...]] = []
    for number in range(SEARCH_STEPS):
        rate = (low + high) / 2
        load = load_of(run, rate, run.asked.seconds)
        searched = search_at_rate(node, corpus, question, load, seed=number)
        times = Summary.of(searched.times)
        good = bool(times.p99 and times.p99 < run.asked.p99 and not searched.errors)
        embed, recall, rerank = (searched.stage(stage).p50 for stage in ("embed", "recall", "rerank"))
        tried.append((rate, times.count, times.p50, times.p99, embed, recall, rerank, dict(searched.errors), good))
        low, high = (rate, high) if good else (low, rate)
    run.table(
        f"Searches alone, {devices} devices: highest rate with p99 below {run.asked.p99:g} ms is {low:.1f}/s",
        ("searches/s", "count", "p50 ms", "p99 ms", "embed p50", "recall p50", "rerank p50", "errors", "held"),
        sorted(tried),
    )
    return {"highest_rate": low, "tried": tried}


# Faults


def hosts_by_device() -> Mapping[str, Sequence[psutil.Process]]:
    """The engines' processes of this run, by what they see."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if HOST_PROGRAM in process.cmdline():
                environment = process.environ()
                found.setdefault(" ".join(environment.get(name, "") for name in SEEN_BY), []).append(process)
    return dict(sorted(found.items()))


@dataclass(slots=True)
class Watch:
    """What /health/ready said over time."""

    node: MeasuredNode
    states: list[tuple[float, bool, dict[str, bool], int]] = field(default_factory=list)
    """Moment, whether ready, which devices were well, and restarts."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with httpx.Client(base_url=self.node.url, timeout=10) as http:
            while not self.stop.wait(POLL_SECONDS):
                with suppress(httpx.HTTPError, KeyError, ValueError):
                    body = http.get("/health/ready").json()
                    devices = {each["name"]: each["ok"] for each in body["devices"]}
                    restarts = sum(each["restarts"] for each in body["devices"])
                    self.states.append((monotonic(), body["ready"], devices, restarts))


def _fault(run: Run, kind: str, node: MeasuredNode, corpus: Corpus, question: Question) -> dict[str, Any]:
    """Searches and ingestion go on all the while; the fault comes after --seconds of both."""
    asked = run.asked
    name = node.new_collection(corpus)
    watch = Watch(node)
    watcher = threading.Thread(target=watch.run, daemon=True)
    watcher.start()
    first, sent, moments = node.new_documents(), 0, {}
    searched: list[Searched] = []
    stop_searching = threading.Event()
    searcher = threading.Thread(
        target=lambda: searched.extend(_search_until(run, node, corpus, question, stop_searching)), daemon=True
    )
    try:
        with node.feeding(name, corpus, first=first) as feeder:
            feeder.wait_until_begun()
            begin = monotonic()
            searcher.start()
            sleep(asked.seconds)
            victims = list(hosts_by_device().values())[-1]
            restarts = watch.states[-1][3]
            moments["fault"] = monotonic()
            reranking = [process for process in victims if "classify" in process.cmdline()]
            for process in victims if kind == "kill" else reranking:
                process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            deadline = monotonic() + min(BACK_SECONDS, run.left - 15)
            while monotonic() < deadline:
                sleep(POLL_SECONDS)
                at, _, devices, now = watch.states[-1]
                out = not all(devices.values())
                if out:
                    moments.setdefault("out", at)
                if "out" in moments and not out and now > restarts:
                    moments["back"] = at
                    break
            sleep(asked.seconds / 2 if "back" in moments else 0)
            end = monotonic()
            stop_searching.set()
            searcher.join()
            points = list(feeder.points)
            feeder.check()
            sent = points[-1].documents
        node.wait_until_idle()
    finally:
        stop_searching.set()
        watch.stop.set()
        watcher.join()
    (found,) = searched
    fault, back = moments["fault"], moments.get("back", end)
    spans = {"before": (begin, fault), "device away": (fault, back), "after": (back, end)}
    rows, record = [], {}
    for span, (start, stop) in spans.items():
        samples = [sample for sample in found.samples if start <= found.started + sample.due < stop]
        times = Summary.of([sample.ms for sample in samples if sample.error is None])
        errors = [sample.error for sample in samples if sample.error is not None]
        rate = ingested(points, start, stop).tokens_per_second if stop > start else 0.0
        rows.append(
            (span, stop - start, len(samples), len(errors), times.p50 or "", times.p99 or "", times.max or "", rate)
        )
        record[span] = {"seconds": stop - start, "latency": times.to_json(), "errors": errors[:20], "tok_s": rate}
    ready = [state[1] for state in watch.states if state[0] >= fault]
    chunks = node.client.collection(name)["chunks"]
    run.table(
        f"One device's engines {'killed' if kind == 'kill' else 'hung (SIGSTOP of one)'}, the others go on",
        ("", "seconds", "searches", "not answered whole", "p50 ms", "p99 ms", "max ms", "ingested tok/s"),
        rows,
    )
    told = {key: round(moments[key] - fault, 1) for key in ("out", "back") if key in moments}
    said = (
        f"Seconds until /health told the device out and back: {told}. The node said ready {sum(ready)} of {len(ready)} "
        f"times. {sent} documents were reported ingested, none failed; the store holds {chunks} chunks."
    )
    run.lines += ["", said]
    return {"spans": record, "moments": told, "ready": [sum(ready), len(ready)], "documents": sent, "chunks": chunks}


def _search_until(
    run: Run, node: MeasuredNode, corpus: Corpus, question: Question, stop: threading.Event
) -> list[Searched]:
    rate = run.asked.rate

    async def ask() -> Searched:
        due = arrivals(rate, BACK_SECONDS + 60, kind="fixed", seed=0)
        searching = asyncio.create_task(
            search_open_loop_until(node, question, corpus, due, stop), name="searches of a fault"
        )
        return await searching

    return [asyncio.run(ask())]


async def search_open_loop_until(
    node: MeasuredNode, question: Question, corpus: Corpus, due: Sequence[float], stop: threading.Event
) -> Searched:
    """In stretches of a second, until `stop` is set."""
    started, samples, number = monotonic(), [], 0
    pending: set[asyncio.Task[Searched]] = set()
    done: list[Searched] = []
    while not stop.is_set() and number < due[-1]:
        moments = [moment - number for moment in due if number <= moment < number + 1]
        stretch = search_open_loop(
            node.url,
            node.api_key,
            question,
            corpus,
            first=node.new_queries(len(moments)),
            due=moments,
            warm_up=0.0,
            seconds=1.0,
        )
        pending.add(asyncio.create_task(stretch))
        number += 1
        await asyncio.sleep(max(0.0, started + number - monotonic()))
        done += [task.result() for task in pending if task.done()]
        pending = {task for task in pending if not task.done()}
    done += await asyncio.gather(*pending)
    for each in done:
        offset = each.started - started
        samples += [
            type(sample)(sample.due + offset, sample.sent_late_ms, sample.ms, sample.stages, sample.error)
            for sample in each.samples
        ]
    return Searched(started, monotonic() - started, tuple(sorted(samples, key=lambda sample: sample.due)))


# Models split over devices


def measure_split(run: Run, shapes: str, devices: int) -> None:
    with dummy_settings(shapes, console) as dummies:
        for name, settings in (
            (f"{shapes} over {devices}", {"tensor_parallel": devices, "devices": str(devices)}),
            (f"{shapes} on one", {"devices": "1"}),
        ):
            needed = 75 + 2 * run.asked.seconds
            run.part(f"split {name}", needed, partial(_split, run, name, {**dummies, **settings}))


def _split(run: Run, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    settings = load_settings(**overrides)
    placement = check_memory(settings, build_profile(settings))
    planned = placement.plan if placement else None
    before = memory_used()
    record: dict[str, Any] = {"plan": plan_record(planned, (), placement.rows) if placement and planned else None}
    label = Path(name).name.replace(" ", "-")
    with node_of(run, f"split-{label}", **overrides) as (node, took):
        state = node.client.ready()[1]
        held = [round((now - then) / 1e9, 2) for then, now in zip(before, memory_used(), strict=True)]
        corpus, question = corpus_and_question(run, node)
        after_work = [round((now - then) / 1e9, 2) for then, now in zip(before, memory_used(), strict=True)]
        load = load_of(run, run.asked.split_rate, run.asked.seconds)
        mixed = measure_mixed(node, corpus, load, pool=run.asked.pool, rounds=1, console=console)
        (stretches,) = mixed.rounds
        alone, fed = stretches["searches"].searched, stretches["ingestion"].ingested
        assert alone is not None
        assert fed is not None
        times = Summary.of(alone.times)
        plan_gb = planned.needed_bytes / 1e9 if planned else None
        run.table(
            f"{name}: ready after {took:.0f} s, self-test passed {all(each['ok'] for each in state['self_test'])}",
            ("GB planned a device", "GB held, ready", "GB held, after work", "search p50", "p99", "ingested tok/s"),
            [(plan_gb or "", held, after_work, times.p50 or "", times.p99 or "", fed.tokens_per_second)],
        )
        record |= {
            "ready_seconds": took,
            "self_test": state["self_test"],
            "planned_gb": plan_gb,
            "held_gb_ready": held,
            "held_gb_after_work": after_work,
            "search_ms": times.to_json(),
            "errors": dict(alone.errors),
            "ingested_tokens_per_second": fed.tokens_per_second,
        }
        if settings.parts > 1 and run.left > 60:
            record["rank_killed"] = _kill_rank(run, node, question, corpus)
    return record


def _kill_rank(run: Run, node: MeasuredNode, question: Question, corpus: Corpus) -> dict[str, Any]:
    """One of the processes that the reranker is computed in. With one group of devices there is nothing to go on
    with: searches fail until all of it is back."""
    hosts = [process for group in hosts_by_device().values() for process in group]
    ranks = [child for host in hosts if "classify" in host.cmdline() for child in host.children(recursive=True)]
    rank = next(
        (each for each in reversed(ranks) if "VLLM" in each.name() or "spawn" in " ".join(each.cmdline())), None
    )
    if rank is None:
        return {"failed": f"no rank of {hosts} found"}
    killed = monotonic()
    rank.kill()
    out = back = None
    deadline = killed + min(BACK_SECONDS, run.left - 10)
    while monotonic() < deadline and back is None:
        ready, _ = node.client.ready()
        if not ready and out is None:
            out = monotonic() - killed
        if ready and out is not None:
            back = monotonic() - killed
        sleep(POLL_SECONDS)
    answered = None
    if back is not None:
        answered = node.client.search(corpus.query(0), collection=question.collection)["rerank"]["applied"]
    orphans = [each.pid for each in ranks if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    run.lines += [
        "",
        f"A rank killed: out after {out or 0:.1f} s, back after {back or 0:.1f} s, orphans {len(orphans)}.",
    ]
    return {"out_seconds": out, "back_seconds": back, "reranked_after": answered, "orphans": len(orphans)}


def memory_used() -> list[int]:
    """Bytes of each device; empty where there is no nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
        return [int(line) * 2**20 for line in done.stdout.split()]
    return []


# The whole


def scaling(run: Run) -> None:
    """The last table: each figure by number of devices, over that of the first."""
    counts = run.asked.devices
    found = run.found

    def ingested_at(stretch: str, count: int) -> float:
        rate: float = found[f"mixed {count}"]["stretches"][stretch]["ingestion"]["tokens_per_second"]
        return rate

    figures: dict[str, Callable[[int], float]] = {
        "engines alone, embedding tok/s": lambda n: found[f"engines {n}"]["embed_tokens_per_second"][run.asked.tokens],
        "engines alone, reranks/s at once": lambda n: found[f"engines {n}"]["reranks_per_second_at_once"],
        "ingestion through the node, tok/s": lambda n: ingested_at("ingestion", n),
        "ingestion during searches, tok/s": lambda n: ingested_at("both", n),
        f"searches/s at p99 < {run.asked.p99:g} ms": lambda n: found[f"search {n}"]["highest_rate"],
    }
    rows = []
    for name, value in figures.items():
        by_count = {}
        for count in counts:
            with suppress(KeyError, TypeError):
                by_count[count] = value(count)
        first = by_count.get(counts[0])
        shares = [f"{by_count[n] / first * counts[0] / n:.2f}" if first and n in by_count else "" for n in counts]
        rows.append((name, *(by_count.get(n, "") for n in counts), *shares[1:]))
    run.table("Scaling", ("", *(f"{n} devices" for n in counts), *(f"of linear, {n}" for n in counts[1:])), rows)


def measure(run: Run) -> None:
    asked = run.asked
    if any(part in asked.parts for part in PARTS[:4]):
        with dummy_settings(asked.shapes, console) as dummies:
            for count in asked.devices:
                if "engines" in asked.parts:
                    run.part(f"engines {count}", 45 + asked.seconds, partial(measure_engines, run, count, dummies))
                parts = [part for part in ("mixed", "search", "faults") if part in asked.parts]
                if parts:
                    run.part(f"all of node {count}", 60, partial(measure_node, run, count, parts, dummies))
        scaling(run)
    if "split" in asked.parts:
        for shapes in asked.split_shapes:
            measure_split(run, shapes, max(asked.devices))
    run.write()


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--devices", type=numbers, default=[1, 2], help="how many, comma separated")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS[:4]), help=",".join(PARTS))
    parser.add_argument("--shapes", default="qwen3-0.6b", help="of the weights: a pair's name, or a folder")
    parser.add_argument("--split-shapes", type=lambda text: text.split(","), default=["qwen3-8b"])
    parser.add_argument("--budget", type=float, default=540, help="seconds of the whole")
    parser.add_argument("--seconds", type=float, default=12, help="of one measurement")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before each")
    parser.add_argument("--rate", type=float, default=5, help="searches/s for each device, during ingestion")
    parser.add_argument("--split-rate", type=float, default=2, help="the same where models are split")
    parser.add_argument("--highest", type=float, default=32, help="searches/s for each device that it cannot do")
    parser.add_argument("--p99", type=float, default=150, help="ms")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=256, help="of a text")
    parser.add_argument("--pool", type=int, default=2000, help="documents that are searched")
    parser.add_argument("--pools", type=numbers, default=[10, 20, 50, 100, 200, 400], help="candidates of reranks")
    parser.add_argument("--repeats", type=int, default=20, help="reranks of each size")
    return parser


def main() -> int:
    asked = options().parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        raise SystemExit(f"--parts: {', '.join(sorted(unknown))} is not one of {', '.join(PARTS)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    run = Run(asked)

    def end(*_: object) -> None:
        raise TimeoutError(f"the budget of {asked.budget:g} s is spent")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(int(asked.budget) + 1)
    try:
        measure(run)
    except TimeoutError as error:
        run.lines += ["", f"**{error}**"]
    finally:
        signal.alarm(0)
        run.write()
    return 1 if any(isinstance(each, dict) and "failed" in each for each in run.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
