"""One device's engines killed or hung while searches and ingestion go on, and an audit of the store at the end."""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import httpx

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Question, Searched, search_open_loop
from app.cli.bench.measures import Summary, arrivals, ingested
from app.cli.bench.node import MeasuredNode
from deploy.benchmarks.several_gpus.processes import hosts_by_device
from deploy.benchmarks.several_gpus.run import Run

POLL_SECONDS = 0.2
BACK_SECONDS = 240.0
"""In which a device has to come back."""


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


def measure_fault(run: Run, kind: str, node: MeasuredNode, corpus: Corpus, question: Question) -> dict[str, Any]:
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
        report = node.client.audit(name)
        unready = Counter(map(fate, node.client.documents(name)))
        del unready["ready"], unready["cancelled"]
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
    lost = loss(report, sent, unready)
    said = (
        f"Seconds until /health told the device out and back: {told}. The node said ready {sum(ready)} of {len(ready)} "
        f"times. {sent} documents were reported ingested by then; the store holds {chunks} chunks. Audit: "
        f"{lost or 'clean'}, {report['documents']} documents."
    )
    run.lines += ["", said]
    record_of_all: dict[str, Any] = {
        "spans": record,
        "moments": told,
        "ready": [sum(ready), len(ready)],
        "documents": sent,
        "chunks": chunks,
        "audit": report,
    }
    return record_of_all | ({"failed": lost} if lost else {})


def fate(document: Mapping[str, Any]) -> str:
    """Returns a document's state; "cancelled" for one whose job was cancelled, as the feeder does with the rest at its
    end."""
    error = document.get("error") or {}
    return "cancelled" if error.get("code") == "cancelled" else str(document["state"])


def loss(report: Mapping[str, Any], reported: int, unready: Mapping[str, int]) -> str | None:
    """Returns what an audit's report says is missing, or could not be judged, of at least `reported` documents, and the
    `unready` ones by state; None if all are whole."""
    if report["documents"] < reported:
        return f"{reported} documents were reported ingested, and the catalog has {report['documents']}"
    findings = [f"{finding['count']} {finding['kind']}" for finding in report["findings"]]
    findings += [f"{note['count']} {note['kind']}" for note in report["notes"]]
    findings += [f"{count} documents {state}" for state, count in unready.items()]
    return ", ".join(findings) or None


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
