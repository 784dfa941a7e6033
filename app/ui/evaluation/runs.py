"""Evaluations that are started on the page: one at a time on a node, bounded in queries and time, kept in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from secrets import token_hex
from time import perf_counter
from typing import Any, Final, Literal

from ir_measures.util import Qrel

from app.access.caller import Caller
from app.cli.evaluate.run import CLIENT, NAMES, STAGES, CollectionRun, Row, Run
from app.errors import LimitReached
from app.http.schemas.answer import SearchOut
from app.http.schemas.embed import fingerprint_out
from ingestion.errors import Overloaded
from ingestion.types import Collection
from retrieval.errors import TandemError, Unsupported
from retrieval.evaluation.datasets import Dataset
from retrieval.search.query import Mode

KEPT: Final = 20
"""Runs that are kept; the oldest one goes when another is started."""
MAX_QUERIES: Final = 500
MAX_SECONDS: Final = 600
MAX_HITS: Final = 100
"""Maximum number of hits of a search, as Recall@100 needs."""

Search = Callable[[Mapping[str, Any]], Awaitable[SearchOut]]
"""Answers the body of POST /search for the caller who started the run."""
State = Literal["running", "succeeded", "failed", "cancelled"]


@dataclass(slots=True, eq=False)
class Evaluation:
    """One run and its progress."""

    owner: str | None
    """Id of the key that started it, which alone sees it."""
    dataset: Dataset
    collection: Collection
    """The collection that is searched; it holds the judged documents."""
    chunks: int
    documents: int
    missing: int
    """Relevant documents that the collection does not hold."""
    store: str | None
    candidates: int
    """Candidates of the reranked rows."""
    queries: int
    """Queries to send: the first ones of the dataset."""
    seconds: int
    """Time after which no further query is sent."""
    id: str = field(default_factory=lambda: token_hex(8))
    done: int = 0
    state: State = "running"
    message: str = ""
    run: Run | None = None

    @property
    def ended(self) -> bool:
        return self.state != "running"


class Evaluations:
    """The runs of a node."""

    def __init__(self) -> None:
        self._kept: dict[str, Evaluation] = {}
        self._task: asyncio.Task[None] | None = None
        self._running: Evaluation | None = None

    def start(self, evaluation: Evaluation, search: Search) -> None:
        """Starts a run in the background. Raises LimitReached while another one, of any key, is running."""
        self.require_idle()
        while len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[evaluation.id] = self._running = evaluation
        self._task = asyncio.create_task(_ending(evaluation, measure(evaluation, search)))

    def require_idle(self) -> None:
        """Raises LimitReached while a run is under way."""
        if self._running is not None and not self._running.ended:
            raise LimitReached(
                f"An evaluation is running on this node, {self._running.done} of {self._running.queries} queries are "
                "done. Wait until it has ended, or cancel it.",
                retry_after_s=self._running.seconds,
            )

    def find(self, id_: str, caller: Caller) -> Evaluation | None:
        """None also for a run that another key started."""
        found = self._kept.get(id_)
        return found if found and found.owner == caller.key_id else None

    def of(self, caller: Caller) -> Sequence[Evaluation]:
        """Returns the runs of the caller's key, the latest first."""
        return [each for each in reversed(self._kept.values()) if each.owner == caller.key_id]

    async def cancel(self, evaluation: Evaluation) -> None:
        """Ends a run that has not ended; nothing else happens to one that has."""
        if evaluation is self._running and self._task is not None:
            self._task.cancel()
            await self.wait()

    async def wait(self) -> None:
        """Waits until no run is under way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        if self._running is not None:
            await self.cancel(self._running)


@dataclass(slots=True)
class _Setting:
    """One row of the table while it is measured; `pool` as in Row."""

    mode: Mode
    pool: int | None
    rankings: dict[str, list[str]] = field(default_factory=dict)
    times: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return min(self.pool or MAX_HITS, MAX_HITS)

    def body(self, text: str, collection: str) -> dict[str, Any]:
        return {
            "query": text,
            "collection": collection,
            "mode": self.mode,
            "rerank": self.pool is not None,
            "top_k": self.depth,
            "candidates": self.pool or self.depth,
        }

    def row(self, qrels: Sequence[Qrel], done: Sequence[str]) -> Row:
        """Returns the row over the queries `done`."""
        times = {query_id: self.times[query_id] for query_id in done}
        return Row.measured(self.mode, self.pool, self.depth, qrels, self.rankings, times)


class NotMeasured(TandemError):
    """Figures of this run would be meaningless."""

    code = "not_measured"


async def measure(evaluation: Evaluation, search: Search) -> Run:
    """Sends every query in every setting, one after the other, until the time is over. Only queries that were answered
    in all settings count. Raises the errors of `search`, and NotMeasured.
    """
    dataset, name = evaluation.dataset, evaluation.collection.name
    settings = [_Setting(mode, pool) for mode in NAMES for pool in (None, evaluation.candidates)]
    models: Mapping[str, str] = {}
    no_bm25, done = None, []
    with suppress(TimeoutError):
        async with asyncio.timeout(evaluation.seconds):
            for query_id, text in list(dataset.queries.items())[: evaluation.queries]:
                for setting in tuple(settings):
                    try:
                        models = await _measure_query(setting, query_id, text, name, search)
                    except Unsupported as error:
                        no_bm25 = error.message
                        settings.remove(setting)
                done.append(query_id)
                evaluation.done = len(done)
    if not done:
        raise NotMeasured(f"No query was answered in every setting within {evaluation.seconds} s: allow more time.")
    qrels = [qrel for qrel in dataset.qrels if qrel.query_id in set(done)]
    rows = await asyncio.to_thread(lambda: tuple(each.row(qrels, done) for each in settings))
    chunking = evaluation.collection.chunking
    result = CollectionRun(
        name=dataset.name,
        digest=dataset.digest(),
        language=evaluation.collection.language,
        documents=evaluation.documents,
        left_out=dataset.left_out,
        chunks=evaluation.chunks,
        judgements=len(qrels),
        models=models,
        fingerprint=fingerprint_out(evaluation.collection.fingerprint).model_dump(),
        chunking={"max_tokens": chunking.max_tokens, "overlap": chunking.overlap},
        store=evaluation.store,
        no_bm25=no_bm25,
        ingest_seconds=0.0,
        rows=rows,
        texts={query_id: dataset.queries[query_id] for query_id in done},
        searched=name,
    )
    return Run(version("tandem-rag"), evaluation.candidates, (result,))


async def _measure_query(
    setting: _Setting, query_id: str, text: str, collection: str, search: Search
) -> Mapping[str, str]:
    """Returns the names of the models. While the node is busy with others, it waits."""
    body = setting.body(text, collection)
    while True:
        started = perf_counter()
        try:
            answer = await search(body)
            break
        except (Overloaded, LimitReached) as error:
            after = error.detail.get("retry_after_s")
            await asyncio.sleep(after if isinstance(after, int) else 1)
    elapsed = (perf_counter() - started) * 1000
    reason = answer.rerank.reason
    if setting.pool and reason not in (None, "no_candidates"):
        raise NotMeasured(f"Reranking was not applied: {reason}. Choose fewer candidates.")
    taken = {"embed": setting.mode != "sparse", "recall": True, "rerank": setting.pool is not None}
    timings = answer.timings_ms.model_dump()
    setting.times[query_id] = {CLIENT: round(elapsed, 3), "total": timings["total"]} | {
        stage: timings[stage] for stage in STAGES if taken[stage]
    }
    setting.rankings[query_id] = list(dict.fromkeys(hit.document_id for hit in answer.hits))
    return answer.models.model_dump()


async def _ending(evaluation: Evaluation, work: Coroutine[Any, Any, Run]) -> None:
    """Puts the end of `work` into `evaluation`."""
    try:
        evaluation.run = await work
        evaluation.state = "succeeded"
    except TandemError as error:
        evaluation.state, evaluation.message = "failed", error.message
    except asyncio.CancelledError:
        evaluation.state = "cancelled"
        raise
    finally:
        if not evaluation.ended:
            evaluation.state, evaluation.message = "failed", "It ended by an internal error, which the log has."
