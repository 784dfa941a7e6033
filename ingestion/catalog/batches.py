"""Long lists of values for one statement after another."""

from collections.abc import Iterable
from typing import TypeVar

Value = TypeVar("Value")

BATCH = 5000
"""Values in one IN list: well below the limits of both databases."""


def batches(values: Iterable[Value]) -> list[list[Value]]:
    every = list(values)
    return [every[start : start + BATCH] for start in range(0, len(every), BATCH)]
