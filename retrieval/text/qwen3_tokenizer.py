"""Builds tokenizers like those of Qwen3-Embedding and Qwen3-Reranker from any byte-level vocabulary."""

from collections.abc import Iterable, Mapping, Sequence

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = (
    *(END_OF_TEXT, "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
"""Special tokens. Their ids follow those of the vocabulary: from 151643 in the published models."""
OTHER_ADDED_TOKENS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
"""The ids after those."""
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Pattern that splits a text before letters are merged to tokens."""


def reranker_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """Returns a tokenizer like Qwen3-Reranker's, whose post-processor adds no tokens. Vocabulary and merges are in the
    letters of a byte-level vocabulary.
    """
    tokenizer = _without_added_tokens(models.BPE(vocab=dict(vocabulary), merges=list(merges)))
    _add_tokens(tokenizer)
    return tokenizer


def trained_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Returns the same with a vocabulary in which every word of `texts` is one token, both at the start of a text and
    after a space.
    """
    tokenizer = _without_added_tokens(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    words = sorted({word for text in texts for word in text.split()})
    tokenizer.train_from_iterator([*texts, *words, *(f"a {word}" for word in words)], trainer)
    _add_tokens(tokenizer)
    return tokenizer


def embedding_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Returns a tokenizer like Qwen3-Embedding's: its post-processor ends every text with <|endoftext|>."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    end = (END_OF_TEXT, copy.token_to_id(END_OF_TEXT))
    copy.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"$A {END_OF_TEXT}", special_tokens=[end]),
        ]
    )
    return copy


def _without_added_tokens(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _add_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in OTHER_ADDED_TOKENS])
