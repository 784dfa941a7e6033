"""The dialects' names, for settings. Their definitions are in table.py, which takes longer to import."""

from typing import Literal

DialectName = Literal["vllm", "vllm-ascend", "sglang", "tei", "infinity"]
WITHOUT_PRIORITY: frozenset[DialectName] = frozenset({"tei", "infinity"})
"""Dialects of embedding that have no priorities."""
