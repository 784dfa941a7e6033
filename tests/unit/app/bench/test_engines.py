"""tandem bench engines: what engines are asked, and what is told of their answers."""

from io import StringIO

import pytest
from rich.console import Console

from app.cli.bench.engine_speeds import Embedded, EngineLoad, Prompts, Reranked, Speeds
from app.cli.bench.engines import EngineBench, show_engines
from app.cli.bench.measures import Summary

LOAD = EngineLoad(
    lengths=(64, 256),
    pools=(20,),
    candidates=50,
    tokens=256,
    rate=5,
    seconds=10,
    warm_up=2,
    arrivals="poisson",
    repeats=3,
)


def test_prompts_differ_and_fit_the_window() -> None:
    prompts = Prompts(vocabulary=1000, window=512)
    assert len(prompts.text(64)) == 64
    assert len(prompts.text(600)) == 511
    assert prompts.text(64) != prompts.text(64)
    assert max(prompts.text(500)) < 1000


def test_batches_are_as_much_as_the_gate_lets_through() -> None:
    prompts = Prompts(vocabulary=1000, window=8192)
    assert {len(batch) for batch in prompts.batches(256, 16_384)} == {64}
    assert {len(batch) for batch in prompts.batches(2048, 1024)} == {1}


@pytest.mark.parametrize(("window", "shared"), [(8192, 110), (128, 64)])
def test_candidates_share_how_their_prompts_begin(window: int, shared: int) -> None:
    found = Prompts(vocabulary=100_000, window=window).reranked(5, 256)
    assert len({tuple(ids[:shared]) for ids in found}) == 1
    assert len({tuple(ids[shared:]) for ids in found}) == 5
    assert {len(ids) for ids in found} == {min(shared + 256, window - 1)}


def a_bench(*, bare: bool) -> EngineBench:
    ours = Speeds((Embedded(64, 4000.0), Embedded(256, 1600.0)), (Reranked(20, Summary.of([20.0, 22.0, 24.0])),))
    other = Speeds((Embedded(64, 2000.0), Embedded(256, 1600.0)), (Reranked(20, Summary.of([44.0])),))
    return EngineBench(ours, other if bare else None, Summary.of([50.0]), Summary.of([60.0]), texts_alongside=800.0)


def test_ratios_are_over_each_alone() -> None:
    assert a_bench(bare=False).ratios.to_json() == {"search_p50": 1.2, "search_p99": 1.2, "ingestion": 0.5}


@pytest.mark.parametrize("bare", [True, False])
def test_the_table_tells_both(bare: bool) -> None:
    out = StringIO()
    show_engines(a_bench(bare=bare), LOAD, Console(file=out, width=140))
    told = out.getvalue()
    assert "4,000 (256,000)" in told
    assert ("2.00" in told) is bare
    assert ("0.50" in told.split("Both at once")[0]) is bare
    assert "search p50 1.20 times, p99 1.20 times, ingestion 0.50 times" in told.replace("\n", " ")
