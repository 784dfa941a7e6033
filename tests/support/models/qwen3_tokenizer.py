"""The real Qwen3 tokenizer, without a download.

The package `dashscope` carries the ranks of Qwen's byte-level BPE vocabulary as data; nothing of it is imported.
"""

import importlib.util
import os
from base64 import b64decode
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from retrieval.text.prompts import prompt_texts
from retrieval.text.qwen3_tokenizer import embedding_tokenizer, reranker_tokenizer, trained_tokenizer

END_OF_TEXT = 151643
NO, YES = 2152, 9693


@pytest.fixture(scope="session")
def qwen3_tokenizer(pytestconfig: pytest.Config) -> Tokenizer:
    """As Qwen3-Reranker has it: no post-processor that adds tokens. Built once per checkout."""
    assert pytestconfig.cache is not None
    file = pytestconfig.cache.mkdir("qwen3-tokenizer") / "tokenizer.json"
    if not file.exists():
        partial = file.with_suffix(f".{os.getpid()}.partial")  # of this process: another may build the same
        _build().save(str(partial))
        partial.replace(file)
    return Tokenizer.from_file(str(file))


@pytest.fixture(scope="session")
def qwen3_embedding_tokenizer(qwen3_tokenizer: Tokenizer) -> Tokenizer:
    """As Qwen3-Embedding has it: its post-processor ends every text with <|endoftext|>."""
    return embedding_tokenizer(qwen3_tokenizer)


@pytest.fixture(scope="session")
def small_qwen3_tokenizer() -> Tokenizer:
    """Of the same kind with the prompts' words alone: read in no time, for where the vocabulary does not matter."""
    return trained_tokenizer(prompt_texts())


def _build() -> Tokenizer:
    ranks = _ranks()
    letters = _letters()
    names = {token: "".join(letters[byte] for byte in token) for token in ranks}
    # Tiktoken joins any two neighbours that make a token of the vocabulary, lowest rank first: every split is a merge.
    merges = sorted(
        (rank, ranks[token[:cut]], names[token[:cut]], names[token[cut:]])
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    )
    return reranker_tokenizer(
        {names[token]: rank for token, rank in ranks.items()}, [(left, right) for _, _, left, right in merges]
    )


def _ranks() -> dict[bytes, int]:
    spec = importlib.util.find_spec("dashscope")
    assert spec is not None
    assert spec.origin is not None
    lines = (Path(spec.origin).parent / "resources" / "qwen.tiktoken").read_text().splitlines()
    return {b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}


def _letters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary: itself where it has one."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + position) for position, byte in enumerate(others)}
