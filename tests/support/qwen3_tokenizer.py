"""The real Qwen3 tokenizer, without a download.

The package `dashscope` carries the ranks of Qwen's byte-level BPE vocabulary as data; nothing of it is imported.
"""

import importlib.util
from base64 import b64decode
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

END_OF_TEXT = 151643
NO, YES = 2152, 9693

SPECIAL_TOKENS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>"
)
"""Ids from 151643."""
OTHER_ADDED_TOKENS = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
    "<tool_response> </tool_response> <think> </think>"
)
"""The ids after those."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="session")
def qwen3_tokenizer(pytestconfig: pytest.Config) -> Tokenizer:
    """As Qwen3-Reranker has it: no post-processor that adds tokens. Built once per checkout."""
    assert pytestconfig.cache is not None
    file = pytestconfig.cache.mkdir("qwen3-tokenizer") / "tokenizer.json"
    if not file.exists():
        partial = file.with_suffix(".partial")
        _build().save(str(partial))
        partial.replace(file)
    return Tokenizer.from_file(str(file))


@pytest.fixture(scope="session")
def qwen3_embedding_tokenizer(qwen3_tokenizer: Tokenizer) -> Tokenizer:
    """As Qwen3-Embedding has it: its post-processor ends every text with <|endoftext|>."""
    tokenizer = Tokenizer.from_str(qwen3_tokenizer.to_str())
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", END_OF_TEXT)]),
        ]
    )
    return tokenizer


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
    tokenizer = Tokenizer(
        models.BPE(
            vocab={names[token]: rank for token, rank in ranks.items()},
            merges=[(left, right) for _, _, left, right in merges],
        )
    )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS.split()])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in OTHER_ADDED_TOKENS.split()])
    return tokenizer


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
