"""Truncates texts with the model's own tokenizer for servers that tokenise themselves, so that the server never
truncates. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from retrieval.engines.http.dialects.dialect import Pair
from retrieval.errors import ConfigurationError
from retrieval.text.prompts import QUERY_SHARE, SMALLEST_ROOM, window_of
from retrieval.text.tokenizer import TokenMemory, encode_texts


def truncate_text(tokenizer: Tokenizer, text: str, limit: int) -> tuple[str, int]:
    """Returns the longest beginning of `text` that has at most `limit` tokens, special tokens not counted, and its
    number of tokens. The cut is between characters: if a character takes several tokens, the result may stay below
    `limit`.
    """
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    if len(offsets) <= limit:
        return text, len(offsets)
    kept = limit
    while kept > 0:
        beginning = text[: offsets[kept - 1][1]]
        tokens = len(tokenizer.encode(beginning, add_special_tokens=False).ids)
        if tokens <= limit:
            return beginning, tokens
        kept -= tokens - limit
    return "", 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """One query with each of its passages."""

    pairs: tuple[Pair, ...]
    truncated_tokens: tuple[int, ...]
    """Tokens of each passage that did not fit."""
    truncated_query_tokens: int


class PairTruncator:
    """Truncates pairs for cross-encoders that take `query` and `passage` without a prompt, inside the special tokens of
    their tokenizer's post-processor.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_model_len: int) -> None:
        """Raises ConfigurationError if the window leaves no room for texts."""
        self._tokenizer = tokenizer
        self._passages = TokenMemory(tokenizer)
        self._special = tokenizer.num_special_tokens_to_add(is_pair=True)
        self._room = window_of(max_model_len) - self._special
        if self._room < SMALLEST_ROOM:
            raise ConfigurationError(
                f"max_model_len is {max_model_len}, which leaves {self._room} tokens for query and passage; "
                f"it must leave {SMALLEST_ROOM}",
                max_model_len=max_model_len,
            )

    def build(self, query: str, passages: Sequence[str]) -> Pairs:
        """Truncates a query that is longer than QUERY_SHARE of the room at its end, then each passage to the room that
        is left. Raises InvalidText.
        """
        [encoding] = encode_texts(self._tokenizer, [query])
        asked = len(encoding.ids)
        limit = int(self._room * QUERY_SHARE)
        query, query_tokens = (query, asked) if asked <= limit else truncate_text(self._tokenizer, query, limit)
        room = self._room - query_tokens
        pairs, truncated = [], []
        for passage, ids in zip(passages, self._passages.encode(passages), strict=True):
            kept, tokens = (passage, len(ids)) if len(ids) <= room else truncate_text(self._tokenizer, passage, room)
            pairs.append(Pair(query, kept, self._special + query_tokens + tokens))
            truncated.append(len(ids) - tokens)
        return Pairs(tuple(pairs), tuple(truncated), asked - query_tokens)
