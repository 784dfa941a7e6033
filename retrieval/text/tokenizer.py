"""Converts texts to token ids."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

from cachetools import LRUCache
from tokenizers import Encoding, Tokenizer

from retrieval.errors import InvalidText

_SURROGATE = "A text holds a lone surrogate, which no model can read: decode it as UTF-8 first"
MAX_TOKENS = 4_000_000
"""Maximum number of tokens held at a time, 4 bytes each: some 15,000 chunks."""


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
    """Returns one encoding per text, without special tokens and offsets. Raises InvalidText."""
    try:
        return tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidText(_SURROGATE) from error


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Returns the number of tokens of each text, special tokens excluded. Raises InvalidText."""
    return [len(encoding) for encoding in encode_texts(tokenizer, texts)]


def check_text(text: str) -> None:
    """Raises InvalidText for text that cannot be stored or embedded."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidText(_SURROGATE) from error


@dataclass(slots=True)
class TokenLookups:
    """How many texts were looked up in memories of tokens."""

    known: int = 0
    new: int = 0
    """Texts that had to be tokenised."""


_LOOKUPS: ContextVar[TokenLookups | None] = ContextVar("token_lookups", default=None)


@contextmanager
def token_lookups() -> Iterator[TokenLookups]:
    """Counts the lookups of this context, with its tasks and threads."""
    lookups = TokenLookups()
    token = _LOOKUPS.set(lookups)
    try:
        yield lookups
    finally:
        _LOOKUPS.reset(token)


class TokenMemory:
    """Remembers the tokens of texts, so that a search does not tokenise the same candidates repeatedly. The least
    recently used texts are forgotten first. Safe for several threads."""

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int = MAX_TOKENS) -> None:
        self._tokenizer = tokenizer
        self._known: LRUCache[bytes, array[int]] = LRUCache(max_tokens, getsizeof=lambda ids: len(ids) + 1)
        self._lock = Lock()

    def encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Returns the token ids of each text without special tokens. Raises InvalidText."""
        keys = [blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest() for text in texts]
        with self._lock:
            found: list[Sequence[int] | None] = [self._known.get(key) for key in keys]
        missing = [place for place, ids in enumerate(found) if ids is None]
        encodings = encode_texts(self._tokenizer, [texts[place] for place in missing])
        new = {place: array("I", encoding.ids) for place, encoding in zip(missing, encodings, strict=True)}
        with self._lock:
            if lookups := _LOOKUPS.get():
                lookups.known += len(texts) - len(missing)
                lookups.new += len(missing)
            for place, ids in new.items():
                if len(ids) < self._known.maxsize:
                    self._known[keys[place]] = ids
        return [new[place] if ids is None else ids for place, ids in enumerate(found)]
