"""The dialects' names, for settings; what they mean is in table.py, which takes longer to import."""

from typing import Literal

DialectName = Literal["vllm", "vllm-ascend", "sglang", "tei", "infinity"]
WITHOUT_PRIORITY: frozenset[DialectName] = frozenset({"tei", "infinity"})
"""For embedding."""
