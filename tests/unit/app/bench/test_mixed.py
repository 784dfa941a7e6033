import pytest
from rich.console import Console

from app.cli.bench import mixed
from app.cli.bench.load.corpus import MadeUpCorpus
from app.cli.bench.load.searching import Load, Sample, Searched
from app.cli.bench.measures import Ingested
from app.cli.bench.mixed import measure_mixed
from app.cli.bench.mixed_result import Measured, Mixed, Ratios, Stretch, show_mixed

LOAD = Load(rate=5, seconds=10, warm_up=1, arrivals="poisson", candidates=50, top_k=10)


def searched(*times: float, error: str | None = None) -> Searched:
    samples = [
        Sample(number, 0.0, ms, {"embed": 1, "recall": 2, "rerank": ms / 2, "total": ms - 1})
        for number, ms in enumerate(times)
    ]
    return Searched(0, 10, (*samples, *([Sample(9, 0.0, 9999, error=error)] if error else [])))


def ingesting(rate: float, least_waiting: int | None = 900) -> Ingested:
    return Ingested(10, rate, rate * 100, least_waiting)


def one_round(alone: Searched, rate: float, during: Searched, rate_during: float) -> dict[Stretch, Measured]:
    return {
        "searches": Measured("searches", alone, None),
        "ingestion": Measured("ingestion", None, ingesting(rate)),
        "both": Measured("both", during, ingesting(rate_during)),
    }


def shown(found: Mixed) -> str:
    console = Console(width=200, record=True, quiet=False, file=None)
    with console.capture() as capture:
        show_mixed(found, LOAD, console)
    return capture.get()


def test_ratios_of_rounds_and_their_median() -> None:
    found = Mixed(
        (
            one_round(searched(10, 10), 100, searched(12, 12), 80),
            one_round(searched(10, 10), 100, searched(11, 11), 90),
            one_round(searched(10, 10), 100, searched(20, 20), 40),
        )
    )
    assert found.each == (Ratios(1.2, 1.2, 0.8), Ratios(1.1, 1.1, 0.9), Ratios(2.0, 2.0, 0.4))
    assert found.median == Ratios(1.2, 1.2, 0.8)
    assert found.pooled_p99 == pytest.approx(2.0)
    assert "search p50 1.20 times, p99 1.20 times, ingestion 0.80 times" in shown(found)


def test_errors_are_counted_and_have_no_part_in_the_percentiles() -> None:
    found = Mixed((one_round(searched(10), 100, searched(15, error="429 overloaded"), 80),))
    assert found.median == Ratios(1.5, 1.5, 0.8)
    both = found.rounds[0]["both"].searched
    assert both is not None
    assert (both.errors, both.times) == ({"429 overloaded": 1}, [15])
    [row, _] = [line.split("│") for line in shown(found).splitlines() if "both at once" in line]
    assert [cell.strip() for cell in row[6:8]] == ["2", "1"]


def test_where_the_time_of_searches_goes() -> None:
    found = Mixed((one_round(searched(10, 20, 30), 100, searched(40, 60, error="429 overloaded"), 80),))
    wanted = {"embed": 1, "recall": 2, "rerank": 10, "else in the node": 6, "outside of it": 1}
    assert found.parts("searches") == wanted
    assert found.parts("both") == wanted | {"rerank": 25, "else in the node": 21}
    rows = [line.split("│") for line in shown(found).splitlines()]
    told = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in rows if len(row) == 8}
    assert told == {
        "searches alone": ["1.0", "2.0", "10.0", "6.0", "1.0"],
        "both at once": ["1.0", "2.0", "25.0", "21.0", "1.0"],
    }


def test_a_stretch_without_answers_has_no_ratio() -> None:
    found = Mixed((one_round(searched(10), 100, searched(error="503 engine_dead"), 80),))
    assert found.median == Ratios(None, None, 0.8)
    assert found.pooled_p99 is None
    assert "search p50 not known" in shown(found)


def test_ingestion_that_may_have_waited_for_documents_is_told() -> None:
    enough = one_round(searched(10), 100, searched(15), 80)
    assert "not always supplied" not in shown(Mixed((enough,)))
    short = enough | {"ingestion": Measured("ingestion", None, ingesting(100, least_waiting=7))}
    assert "only 7 before it" in shown(Mixed((short,)))


def test_every_second_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[int, str]] = []

    class Node:
        def new_collection(self, _: object) -> str:
            return "pool"

        def fill(self, *_: object) -> float:
            return 50.0

    def measure(stretch: Stretch, *arguments: object) -> Measured:
        order.append((int(str(arguments[-1])), stretch))
        return one_round(searched(10), 100, searched(15), 80)[stretch]

    monkeypatch.setattr(mixed, "_measure", measure)
    found = measure_mixed(Node(), MadeUpCorpus(9), LOAD, pool=60, rounds=2, console=Console(quiet=True))  # type: ignore[arg-type]
    assert order == [
        *((0, "searches"), (0, "ingestion"), (0, "both")),
        *((1, "both"), (1, "ingestion"), (1, "searches")),
    ]
    assert [list(each) for each in found.rounds] == 2 * [["searches", "ingestion", "both"]]
