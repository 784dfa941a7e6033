"""Tests whether differences between two runs over the same queries are significant."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import permutation_test

ALPHA = 0.05
RESAMPLES = 9_999
SEED = 0


def randomisation_p(differences: Sequence[float]) -> float:
    """Returns the two-sided p-value of the paired randomisation test on the mean of `differences`, one for each query.

    If both runs were equally good, each query's difference could have had the other sign: the p-value is the share of
    such assignments whose mean is as far from 0. Smucker, Allan and Carterette recommend the test for retrieval, "A
    comparison of statistical significance tests for information retrieval evaluation" (CIKM 2007): it assumes neither
    normal differences nor a random sample. Up to 13 queries that differ it is exact. Above that, RESAMPLES assignments
    are drawn with a fixed seed, and the smallest possible p-value is 0.0002.
    """
    # A difference of 0 has no sign to exchange: leaving it out only saves time.
    moved = np.array([each for each in differences if each], dtype=np.float64)
    if len(moved) < 2:
        return 1.0
    found = permutation_test(
        (moved,), np.sum, permutation_type="samples", n_resamples=RESAMPLES, batch=1000, rng=SEED, vectorized=True
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the adjusted p-values in the order given. If nothing has changed in any of the tests, the probability
    that any adjusted value is below ALPHA is at most ALPHA (Holm, "A simple sequentially rejective multiple test
    procedure", 1979).
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        floor = max(floor, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = floor
    return adjusted
