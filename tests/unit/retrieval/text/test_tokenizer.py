import asyncio
from collections.abc import Sequence

import pytest
from tokenizers import Encoding, Tokenizer

from retrieval.errors import InvalidText
from retrieval.text.tokenizer import TokenLookups, TokenMemory, encode_texts, token_lookups

TEXTS = ["one two", "two", "\u4e00\u4e8c", "", "one two"]


class Counted:
    """A tokenizer that counts the texts that it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.given: list[str] = []
        self._tokenizer = tokenizer

    def encode_batch_fast(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Encoding]:
        self.given += texts
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)


@pytest.fixture
def counted(qwen3_tokenizer: Tokenizer) -> Counted:
    return Counted(qwen3_tokenizer)


def ids_of(memory: TokenMemory, texts: Sequence[str]) -> list[list[int]]:
    return [list(ids) for ids in memory.encode(texts)]


def test_known_texts_are_the_same_and_are_not_encoded_again(counted: Counted, qwen3_tokenizer: Tokenizer) -> None:
    memory = TokenMemory(counted)  # type: ignore[arg-type]
    expected = [encoding.ids for encoding in encode_texts(qwen3_tokenizer, TEXTS)]
    assert ids_of(memory, TEXTS) == expected
    counted.given.clear()
    assert ids_of(memory, TEXTS) == expected
    assert counted.given == []
    assert ids_of(memory, ["new", *TEXTS])[1:] == expected
    assert counted.given == ["new"]


def test_what_was_not_asked_for_longest_is_forgotten(counted: Counted) -> None:
    memory = TokenMemory(counted, max_tokens=8)  # type: ignore[arg-type]
    memory.encode(["a", "b", "c", "d"])
    memory.encode(["a"])
    memory.encode(["e"])
    counted.given.clear()
    memory.encode(["a", "b", "c", "d", "e"])
    assert counted.given == ["b"]


def test_a_text_beyond_the_bound_is_encoded_and_forgotten(counted: Counted) -> None:
    memory = TokenMemory(counted, max_tokens=4)  # type: ignore[arg-type]
    memory.encode(["a"])
    assert len(memory.encode(["one two three four five six"])[0]) > 4
    counted.given.clear()
    memory.encode(["a"])
    assert counted.given == []


def test_what_is_no_text_is_refused(counted: Counted) -> None:
    with pytest.raises(InvalidText):
        TokenMemory(counted).encode(["fine", "\ud800"])  # type: ignore[arg-type]


async def test_lookups_are_counted_in_the_context_that_asks(qwen3_tokenizer: Tokenizer) -> None:
    memory = TokenMemory(qwen3_tokenizer)
    memory.encode(["one"])
    with token_lookups() as lookups:
        await asyncio.to_thread(memory.encode, ["one", "two", "three"])
        await asyncio.create_task(asyncio.to_thread(memory.encode, ["two"]))
    memory.encode(["one", "four"])
    assert lookups == TokenLookups(known=2, new=2)
