"""tandem bench engines: measures the engines and the gate in this process, without HTTP and stores, and compares them
with bare engines, vLLM's own `AsyncLLM` with the same arguments.
"""

import asyncio
import os
import pickle
import subprocess
import sys
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from app import ROOT
from app.cli.bench.engine_speeds import EngineLoad, Speeds, embed_rate, rerank_times, search_times
from app.cli.bench.engine_work import EngineWork
from app.cli.bench.measures import Summary
from app.cli.bench.mixed_result import Ratios, ratio, ratio_text
from app.cli.console import step_reporter
from app.settings import Settings
from app.wiring.models import SecondStageReranker, build_models
from retrieval.engines.vllm.models import VllmEmbedder
from retrieval.engines.vllm.options import EngineOptions, engine_environment
from retrieval.errors import ConfigurationError, EngineFailed
from retrieval.gather_or_cancel import gather_or_cancel


@dataclass(frozen=True, slots=True)
class EngineBench:
    ours: Speeds
    bare: Speeds | None
    alone: Summary
    """Searches, nothing else computing."""
    alongside: Summary
    """Latency of searches during continuous ingestion."""
    texts_alongside: float
    """Texts a second that it embeds then."""

    @property
    def ratios(self) -> Ratios:
        return Ratios(
            ratio(self.alongside.p50, self.alone.p50),
            ratio(self.alongside.p99, self.alone.p99),
            ratio(self.texts_alongside, self.ours.embedded[-1].texts_per_second),
        )

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "ratios": self.ratios.to_json()}


@dataclass(frozen=True, slots=True)
class BareWork:
    """The input of the program app.cli.bench.peers.bare_engines."""

    embed: EngineOptions
    rerank: EngineOptions
    load: EngineLoad
    slice_tokens: int
    ahead: int


def measure_engines(settings: Settings, load: EngineLoad, *, bare: bool, console: Console) -> EngineBench:
    """Measures the engines. Raises ConfigurationError if the settings name no engines of this machine,
    ModelUnavailable, EngineFailed.
    """
    ours, alone, alongside, texts, work = asyncio.run(_measure(settings, load, console))
    return EngineBench(ours, _bare(work, console) if bare else None, alone, alongside, texts)


async def _measure(
    settings: Settings, load: EngineLoad, console: Console
) -> tuple[Speeds, Summary, Summary, float, BareWork]:
    with console.status("") as status:
        report = step_reporter(console, status)
        models = await build_models(settings, report)
        embedder, reranker, devices = models.embedder, models.reranker, models.devices
        if not isinstance(embedder, VllmEmbedder) or not isinstance(reranker, SecondStageReranker):
            raise ConfigurationError("TANDEM_ENGINE: this benchmark measures the engines of this machine; unset it.")
        try:
            report("starting both engines")
            await gather_or_cancel([embedder.start(), reranker.start()])
            report("measuring")
            work = EngineWork(devices, embedder, reranker, load)
            slice_tokens, ahead = work.options.slice_tokens, work.ahead
            reranked = [await rerank_times(work.rerank, work.prompts, pool, load) for pool in load.pools]
            embedded = [
                await embed_rate(work.embed, work.prompts, length, load, slice_tokens, ahead) for length in load.lengths
            ]
            await work.search()
            alone = await search_times(work.search, load)
            alongside, texts = await work.search_beside_ingestion()
            bare = BareWork(embedder.engine.options, reranker.engine.options, load, slice_tokens, ahead)
        finally:
            await embedder.close()
            await reranker.close()
    return Speeds(tuple(embedded), tuple(reranked)), alone, alongside, texts, bare


def _bare(work: BareWork, console: Console) -> Speeds:
    """Measures bare engines in a separate process, since vLLM reads its environment when it is imported."""
    console.print("Measuring the bare engines", markup=False)
    environment = engine_environment(work.embed) | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    done = subprocess.run(  # our own program with fixed arguments
        [sys.executable, "-m", "app.cli.bench.peers.bare_engines"],
        cwd=ROOT,
        env=os.environ | environment,
        input=pickle.dumps(work),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise EngineFailed(f"The bare engines ended with status {done.returncode}; they last said: {said[-1][:300]}")
    speeds = pickle.loads(done.stdout)  # noqa: S301  # written by our own program
    assert isinstance(speeds, Speeds)
    return speeds


def show_engines(bench: EngineBench, load: EngineLoad, console: Console) -> None:
    table = Table(title="Engines and gate, without HTTP and stores")
    for column in ("", "these", "bare AsyncLLM", "these over bare"):
        table.add_column(column, justify="right" if column else "left")
    bare = bench.bare
    for number, each in enumerate(bench.ours.embedded):
        peer = bare.embedded[number] if bare else None
        table.add_row(
            f"embed {each.tokens} tokens, texts/s (tokens/s)",
            f"{each.texts_per_second:,.0f} ({each.tokens_per_second:,.0f})",
            f"{peer.texts_per_second:,.0f} ({peer.tokens_per_second:,.0f})" if peer else "",
            f"{each.texts_per_second / peer.texts_per_second:.2f}" if peer else "",
        )
    for number, reranked in enumerate(bench.ours.reranked):
        took, other = reranked.times.p50, bare.reranked[number].times.p50 if bare else None
        table.add_row(
            f"rerank {reranked.candidates} × {load.tokens} tokens, ms (p50)",
            f"{took:.1f}",
            f"{other:.1f}" if other else "",
            f"{took / other:.2f}" if took and other else "",
        )
    console.print(table)
    console.print(
        f"{load.rate:g} searches a second, {load.candidates} candidates: p50 {bench.alone.p50:.0f}, p99 "
        f"{bench.alone.p99:.0f} ms; during ingestion {bench.alongside.p50:.0f} and {bench.alongside.p99:.0f} ms at "
        f"{bench.texts_alongside:,.0f} texts/s",
        markup=False,
    )
    console.print(f"Both at once over alone: {ratio_text(bench.ratios)}", markup=False)
