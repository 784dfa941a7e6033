from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_rel

from retrieval.evaluation.significance import holm, randomisation_p


def test_few_queries_are_counted_exactly() -> None:
    differences = [0.3, 0.2, -0.1, 0.4, 0.25, 0.05, -0.02, 0.15]
    sums = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=8)
    ]
    as_far = sum(abs(each) >= abs(sum(differences)) - 1e-12 for each in sums)
    assert randomisation_p(differences) == pytest.approx(as_far / 2**8)


@pytest.mark.parametrize("seed", range(4))
def test_many_queries_agree_with_the_t_test_and_are_repeatable(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    before = drawn.random(300)
    after = before + drawn.normal(0.015, 0.15, 300)
    p = randomisation_p(list(after - before))
    assert p == randomisation_p(list(after - before))
    assert p == pytest.approx(ttest_rel(after, before).pvalue, abs=0.02)
    assert p == pytest.approx(randomisation_p(list(before - after)), abs=0.02)


def test_queries_that_did_not_change_change_nothing() -> None:
    differences = [0.3, 0.2, -0.1, 0.4, 0.25]
    assert randomisation_p(differences + [0.0] * 1000) == randomisation_p(differences)


@pytest.mark.parametrize("differences", [[], [0.0, 0.0], [0.9], [0.5, -0.5]])
def test_what_tells_nothing_is_1(differences: list[float]) -> None:
    assert randomisation_p(differences) == 1


def test_holm_by_hand() -> None:
    # The smallest by 4, the next by 3…, and never below the one before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([]) == []
