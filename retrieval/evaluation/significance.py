"""Whether differences between two runs over the same queries may be chance."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import permutation_test

ALPHA = 0.05
RESAMPLES = 9_999
SEED = 0


def randomisation_p(differences: Sequence[float]) -> float:
    """p-value, two-sided, of the paired randomisation test on the mean of `differences`, one for each query.

    Were both runs equally good, each query's difference could as well have had the other sign: the p-value is the
    share of such assignments whose mean is as far from 0. For retrieval the test is recommended by Smucker, Allan and
    Carterette, "A comparison of statistical significance tests for information retrieval evaluation" (CIKM 2007): it
    assumes neither normal differences nor a random sample. Up to 13 queries that differ it is exact, beyond that
    RESAMPLES assignments are drawn with a fixed seed, and 0.0002 is the least that it can say.
    """
    # A difference of 0 has no sign to exchange: left out, it changes nothing but the time that this takes.
    moved = np.array([each for each in differences if each], dtype=np.float64)
    if len(moved) < 2:
        return 1.0
    found = permutation_test(
        (moved,), np.sum, permutation_type="samples", n_resamples=RESAMPLES, batch=1000, rng=SEED, vectorized=True
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted, in the order given, so that of all tests in which nothing has changed the chance of even
    one below ALPHA is at most ALPHA (Holm, "A simple sequentially rejective multiple test procedure", 1979)."""
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        floor = max(floor, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = floor
    return adjusted
