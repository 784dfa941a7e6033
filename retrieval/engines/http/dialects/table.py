"""The dialects by the names that settings use."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tokenizers import Tokenizer

from retrieval.engines.http.dialects.dialect import Dialect, Pair, Text
from retrieval.engines.http.dialects.infinity import INFINITY_EMBED, INFINITY_RERANK
from retrieval.engines.http.dialects.names import DialectName
from retrieval.engines.http.dialects.sglang import SGLANG_EMBED, sglang_rerank
from retrieval.engines.http.dialects.tei import TEI_EMBED, TEI_RERANK
from retrieval.engines.http.dialects.vllm import VLLM_EMBED, VLLM_RERANK
from retrieval.types import TokenIds

TOKEN_EMBED: Mapping[DialectName, Dialect[TokenIds]] = {
    "vllm": VLLM_EMBED,
    "vllm-ascend": replace(VLLM_EMBED, name="vllm-ascend"),
    "sglang": SGLANG_EMBED,
}
TEXT_EMBED: Mapping[DialectName, Dialect[Text]] = {"tei": TEI_EMBED, "infinity": INFINITY_EMBED}

TOKEN_RERANK: Mapping[DialectName, Callable[[Tokenizer], Dialect[TokenIds]]] = {
    "vllm": lambda _: VLLM_RERANK,
    "vllm-ascend": lambda _: VLLM_RERANK,
    "sglang": sglang_rerank,
}
"""Functions from a model's tokenizer to its dialect."""
PAIR_RERANK: Mapping[DialectName, Dialect[Pair]] = {"tei": TEI_RERANK, "infinity": INFINITY_RERANK}
