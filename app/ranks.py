"""The ranks of a hit, as an answer to POST /search holds them."""

from collections.abc import Mapping
from typing import Final

RECALL: Final = ("fused", "dense", "sparse")
"""Stages of recall, in the order in which they decide the rank."""


def recall_rank(ranks: Mapping[str, int]) -> int | None:
    """Returns the rank in recall from the ranks by stage; None if recall gave none."""
    return next((ranks[stage] for stage in RECALL if stage in ranks), None)
