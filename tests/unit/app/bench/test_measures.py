from itertools import pairwise

import pytest

from app.cli.bench.measures import Point, Summary, arrivals, ingested, percentile, rates


def points(*told: tuple[float, int], waiting: int = 500) -> list[Point]:
    """At a moment, so many documents of 10 tokens each."""
    return [Point(at, documents, documents, 10 * documents, waiting) for at, documents in told]


def test_percentiles_lie_between_the_nearest_values() -> None:
    values = [4.0, 1.0, 3.0, 2.0, 5.0]
    assert [percentile(values, share) for share in (0, 0.25, 0.5, 0.9, 1)] == pytest.approx([1, 2, 3, 4.6, 5])
    assert percentile([7.0], 0.99) == 7


def test_summary() -> None:
    summary = Summary.of([float(number) for number in range(1, 102)])
    assert summary.to_json() == {"count": 101, "p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 101.0}
    assert Summary.of([]).to_json() == {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}


def test_fixed_arrivals_are_even_and_end_in_time() -> None:
    assert arrivals(4, 1.0, kind="fixed", seed=1) == [0, 0.25, 0.5, 0.75]
    assert arrivals(0.4, 5.0, kind="fixed", seed=1) == [0, 2.5]


def test_random_arrivals_have_the_rate_and_exponential_pauses() -> None:
    due = arrivals(5, 2000, kind="poisson", seed=1)
    assert due == sorted(due)
    assert due[0] > 0
    assert due[-1] < 2000
    assert len(due) == pytest.approx(10_000, rel=0.03)
    pauses = [later - earlier for earlier, later in pairwise(due)]
    assert sum(pause > 0.2 for pause in pauses) / len(pauses) == pytest.approx(0.368, abs=0.02)  # 1/e above the mean


def test_the_same_seed_makes_the_same_arrivals() -> None:
    assert arrivals(5, 10, kind="poisson", seed=3) == arrivals(5, 10, kind="poisson", seed=3)
    assert arrivals(5, 10, kind="poisson", seed=3) != arrivals(5, 10, kind="poisson", seed=4)


def test_start_and_end_of_an_ingestion_do_not_count() -> None:
    told = points((0, 0), (10, 10), (12, 210), (16, 610), (20, 620))
    found = ingested(told, 12, 16)
    assert (found.texts_per_second, found.tokens_per_second) == (100, 1000)


def test_progress_between_two_points_is_even() -> None:
    found = ingested(points((0, 0), (10, 100), (20, 300)), 5, 15)
    assert found.texts_per_second == pytest.approx((50 + 100) / 10)
    assert found.seconds == 10


def test_after_the_last_point_nothing_is_ingested() -> None:
    assert ingested(points((0, 0), (10, 100)), 5, 15).texts_per_second == pytest.approx(5)
    assert ingested(points((0, 0), (10, 100)), 20, 30).texts_per_second == 0


def test_the_fewest_documents_waiting_within_the_time() -> None:
    told = [Point(at, 0, 0, 0, waiting) for at, waiting in ((0, 1), (5, 300), (6, 200), (7, 900), (11, 2))]
    assert ingested(told, 4, 10).least_waiting == 200
    assert ingested(told, 8, 9).least_waiting is None


def test_rates_second_by_second() -> None:
    told = points((0, 0), (1, 50), (2, 150), (3.5, 300))
    assert rates(told, 0, 3.5) == [(0.5, 50), (1.5, 100), (2.5, 100)]
