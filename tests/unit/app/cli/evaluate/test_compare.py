"""`tandem eval --compare`: what has changed, and whether it may be chance."""

from io import StringIO

import pytest
from rich.console import Console

from app.cli.evaluate.compare import compare, show_comparison
from retrieval.errors import InvalidRequest
from retrieval.evaluation.significance import randomisation_p
from tests.support.docs.evaluated import collection, full_run, row, run

LOW = [0.1 + 0.01 * number for number in range(20)]
HIGH = [value + 0.05 + 0.001 * number for number, value in enumerate(LOW)]
"""Better in every query."""


def told(*arguments: object) -> str:
    console = Console(file=StringIO(), width=120)
    show_comparison(compare(*arguments), console)  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_same_run_has_not_changed() -> None:
    comparison = compare(full_run("ships"), full_run("ships"))
    assert {(each.difference, each.p) for each in comparison.collections[0].changes} == {(0.0, 1.0)}
    assert not comparison.worse
    assert "No row is significantly worse." in told(full_run("ships"), full_run("ships"))


def test_a_row_that_is_worse_is_told_of_and_decides() -> None:
    before = run(collection(row("dense", None, HIGH), row("dense", 50, LOW)))
    after = run(collection(row("dense", None, LOW), row("dense", 50, LOW)))
    assert compare(before, after).worse
    shown = told(before, after)
    assert "Worse: dense, nDCG@10 0.255 → 0.195 (p <.001), Recall@10 0.255" in shown
    assert "-0.060 (<.001)*" in shown
    assert "Worse: dense + rerank" not in shown


def test_a_row_that_is_better_does_not_decide() -> None:
    comparison = compare(run(collection(row("dense", None, LOW))), run(collection(row("dense", None, HIGH))))
    assert all(each.significant and each.difference > 0 for each in comparison.collections[0].changes)
    assert not comparison.worse


def test_a_row_that_is_lower_by_chance_does_not_decide() -> None:
    lower = [value + (0.2 if number % 2 else -0.21) for number, value in enumerate(HIGH)]
    comparison = compare(run(collection(row("dense", None, HIGH))), run(collection(row("dense", None, lower))))
    assert all(each.difference < 0 and not each.significant for each in comparison.collections[0].changes)
    assert not comparison.worse


def test_p_is_adjusted_for_the_rows_of_all_collections() -> None:
    moved = [0.1, 0.2, 0.3, 0.1, 0.15, -0.02, 0.0, 0.0]
    before = [collection(row("dense", None, [0.5] * 8), row("dense", 50, [0.5] * 8), name=name) for name in "ab"]
    after = [
        collection(row("dense", None, [0.5 + each for each in moved]), row("dense", 50, [0.5] * 8), name=name)
        for name in "ab"
    ]
    raw = randomisation_p([(0.5 + each) - 0.5 for each in moved])
    comparison = compare(run(*before), run(*after))
    found = [each.p for each in comparison.collections[0].changes if each.measure == "nDCG@10"]
    assert found == pytest.approx([4 * raw, 1.0])
    assert raw < 0.0626


def test_only_queries_of_both_runs_are_compared_and_it_is_said() -> None:
    before = run(collection(row("dense", None, [0.1] * 10)))
    after = run(collection(row("dense", None, [0.3] * 10, first=4), digest="other"))
    compared = compare(before, after).collections[0]
    assert compared.queries == 6
    assert all((each.before, each.after) == pytest.approx((0.1, 0.3)) for each in compared.changes)
    shown = " ".join(told(before, after).split())
    assert "has 10 queries, this one 10: the comparison uses the 6 common ones" in shown
    assert "Documents, queries or judgements have changed" in shown


def test_changed_settings_are_told() -> None:
    before = run(collection(row("dense", 50, LOW)))
    after = run(collection(row("dense", 80, LOW), reranker="other judge"), candidates=80)
    shown = told(before, after)
    assert "candidates: 50 → 80" in shown
    assert "reranker: judge → other judge" in shown


def test_a_row_that_is_gone_decides() -> None:
    before = run(collection(row("sparse", None, LOW), row("dense", None, LOW)))
    after = run(collection(row("dense", None, LOW)))
    assert compare(before, after).worse
    assert "Gone: BM25" in told(before, after)
    assert not compare(after, before).worse


def test_runs_that_share_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="it has ships"):
        compare(full_run("ships"), full_run("harbours"))
    with pytest.raises(InvalidRequest, match="has none of these queries"):
        compare(run(collection(row("dense", None, LOW))), run(collection(row("dense", None, LOW, first=50))))
