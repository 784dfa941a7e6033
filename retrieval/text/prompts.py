"""Composes the prompts that the models were trained on, token by token.

Pure: takes a `tokenizers.Tokenizer` and never changes it. Pieces are tokenised separately, truncated to the model's
window and joined; without truncation the result equals the tokens of the model card's whole prompt. Source: the model
cards of Qwen3-Embedding and Qwen3-Reranker.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from tokenizers import Tokenizer

from retrieval.errors import ConfigurationError, InvalidRequest
from retrieval.text.tokenizer import TokenMemory, encode_texts
from retrieval.types import TextKind, TokenIds

PROMPT_VERSION = "1"
"""Changes with every change of the texts or of how they are joined: it is part of each vector's fingerprint."""

DEFAULT_QUERY_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
DEFAULT_RERANK_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

QueryFormat = Literal["instruct", "plain"]
"""`instruct`: queries carry an instruction, their own or the default, in Qwen3-Embedding's words. `plain`: texts go in
behind the caller's instruction, else behind the prefix that the model's folder states for their kind, if any."""

QUERY_SHARE = 0.5
"""Largest share that a query may take of the reranker's window, of what the fixed texts leave of it."""
SMALLEST_ROOM = 32
"""Tokens that fixed texts and instruction must leave for the caller's text."""

_RERANK_HEAD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_RERANK_TAIL = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: list[int]
    """Token ids of the model's input, special tokens included."""
    truncated_tokens: int
    """Tokens of the caller's text that did not fit."""


def prompt_version(prefixes: Mapping[TextKind, str]) -> str:
    """Returns PROMPT_VERSION, followed by the prefixes if there are any: vectors depend on them."""
    stated = "".join(f":{kind}={prefix}" for kind, prefix in sorted(prefixes.items()))
    return PROMPT_VERSION + (f":{sha256(stated.encode()).hexdigest()[:8]}" if stated else "")


def query_format(model_type: str) -> QueryFormat:
    """Returns the query format of a family, named by `model_type` of a model's config.json."""
    return "instruct" if model_type == "qwen3" else "plain"


def window_of(max_model_len: int) -> int:
    """Returns the length of the longest prompt to submit: one token less than the engine takes, because some engine
    versions never schedule a prompt of exactly `max_model_len` tokens.
    """
    return max_model_len - 1


def format_query(query: str, instruction: str) -> str:
    """Returns the query's prompt. There is no space after `Query:`, as in the model card."""
    return f"Instruct: {instruction}\nQuery:{query}"


def prompt_texts() -> tuple[str, ...]:
    """Returns all fixed texts of prompts, for a tokenizer that is built for them."""
    return (
        _RERANK_HEAD,
        _question("", DEFAULT_RERANK_INSTRUCTION),
        _RERANK_TAIL,
        format_query("", DEFAULT_QUERY_INSTRUCTION),
        "yes",
        "no",
    )


class EmbeddingPrompts:
    """Builds token ids for an embedding model: the text, truncated at its end to the window, inside the special tokens
    that the tokenizer's own post-processor adds (`<|endoftext|>` at the end for Qwen3, `[CLS]` and `[SEP]` for BERT).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_model_len: int,
        query_format: QueryFormat,
        prefixes: Mapping[TextKind, str] | None = None,
    ) -> None:
        """`prefixes` are those of `plain` models that were trained with them (E5: `query: `, `passage: `)."""
        self._tokenizer = tokenizer
        self._prefixes: Mapping[TextKind, str] = prefixes or {}
        self._prefix_tokens = {kind: _tokens_before(tokenizer, prefix) for kind, prefix in self._prefixes.items()}
        # Documents are counted, then embedded; candidates recur in many searches.
        self._known = TokenMemory(tokenizer)
        self._head, self._tail = _special_tokens(tokenizer)
        self.query_format: QueryFormat = query_format
        self._room = window_of(max_model_len) - len(self._head) - len(self._tail)
        self.max_tokens = self._room - self._prefix_tokens.get("document", 0)
        """Tokens of a document's text, special tokens and prefix not counted, that go in without a cut."""
        if self.max_tokens < SMALLEST_ROOM:
            raise ConfigurationError(
                f"max_model_len is {max_model_len}, which leaves {self.max_tokens} tokens for a text; "
                f"it must leave {SMALLEST_ROOM}",
                max_model_len=max_model_len,
            )

    def build(self, texts: Sequence[str], kind: TextKind, instruction: str | None = None) -> list[Prompt]:
        """Returns one prompt per text, in order. Raises InvalidText, InvalidRequest (instruction too long)."""
        composed = self.compose(texts, kind, instruction)
        return [self._fit(ids) for ids in self._known.encode(composed)]

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        """Returns the tokens of each text, special tokens not counted. Raises InvalidText."""
        return [len(ids) for ids in self._known.encode(texts)]

    def compose(self, texts: Sequence[str], kind: TextKind, instruction: str | None = None) -> Sequence[str]:
        """Returns the texts that the model reads, without special tokens. Raises the errors of `build`."""
        if kind == "query" and self.query_format == "instruct":
            instruction = instruction or DEFAULT_QUERY_INSTRUCTION
            before = format_query("", instruction)
        else:
            before = instruction or self._prefixes.get(kind, "")
        if not before:
            return texts
        [around] = encode_texts(self._tokenizer, [before])
        _check_room(self._room - len(around.ids), before)
        return [before + text for text in texts]

    def text_of(self, length: int, kind: TextKind) -> slice:
        """Returns the place of the text's own tokens in a prompt of `length` tokens: all except the special tokens
        around it and those of its prefix.
        """
        return slice(len(self._head) + self._prefix_tokens.get(kind, 0), length - len(self._tail))

    def _fit(self, ids: TokenIds) -> Prompt:
        kept = ids[: self._room]
        return Prompt([*self._head, *kept, *self._tail], len(ids) - len(kept))


@dataclass(frozen=True, slots=True)
class RerankPrompts:
    """The prompts of one query with each of its passages."""

    prompts: tuple[Prompt, ...]
    truncated_query_tokens: int


class RerankPromptBuilder:
    """Builds token ids for Qwen3-Reranker. The prompt up to `<Document>:` is the same for all passages of a query, so
    that the engine's prefix cache can reuse it; passages are tokenised separately.

    Special tokens written out in the caller's text are tokenised as plain text, so a passage cannot end its own turn of
    the conversation and answer for the model.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_model_len: int) -> None:
        self._trusted = tokenizer
        self._untrusted = Tokenizer.from_str(tokenizer.to_str())
        self._untrusted.encode_special_tokens = True
        self._passages = TokenMemory(self._untrusted)
        self._window = window_of(max_model_len)
        self._head = self._ids(_RERANK_HEAD)
        self._tail = self._ids(_RERANK_TAIL)
        self._room(DEFAULT_RERANK_INSTRUCTION)

    def build(self, query: str, passages: Sequence[str], instruction: str | None = None) -> RerankPrompts:
        """Returns the prompts. Over-long passages are truncated at their end, and so is a query longer than QUERY_SHARE
        of the room.

        White space around query and passages is dropped. Raises InvalidText, InvalidRequest (instruction too long).
        """
        instruction = instruction or DEFAULT_RERANK_INSTRUCTION
        query, cut = self._truncate_query(query.strip(), int(self._room(instruction) * QUERY_SHARE))
        [asked] = encode_texts(self._untrusted, [_question(query, instruction)])
        head = [*self._head, *asked.ids]
        room = self._window - len(head) - len(self._tail)
        prompts = []
        for ids in self._passages.encode([f" {passage.strip()}" for passage in passages]):
            kept = ids[:room]
            prompts.append(Prompt([*head, *kept, *self._tail], len(ids) - len(kept)))
        return RerankPrompts(tuple(prompts), cut)

    def _truncate_query(self, query: str, limit: int) -> tuple[str, int]:
        """Returns the query and the number of tokens truncated from it. It is truncated as text and tokenised again, so
        that its joint with the texts around it stays the tokenizer's own; characters of several tokens can make it a
        few tokens longer.
        """
        [encoding] = encode_texts(self._untrusted, [query])
        if len(encoding.ids) <= limit:
            return query, 0
        offsets = self._untrusted.encode(query, add_special_tokens=False).offsets
        return query[: offsets[limit - 1][1]], len(encoding.ids) - limit

    def _room(self, instruction: str) -> int:
        """Returns the tokens left for query and passage together."""
        [asked] = encode_texts(self._untrusted, [_question("", instruction)])
        room = self._window - len(self._head) - len(asked.ids) - len(self._tail)
        _check_room(room, instruction)
        return room

    def _ids(self, text: str) -> list[int]:
        return self._trusted.encode(text, add_special_tokens=False).ids


def _question(query: str, instruction: str) -> str:
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"


def _check_room(room: int, instruction: str) -> None:
    if room < SMALLEST_ROOM:
        raise InvalidRequest(
            f"The instruction ({len(instruction)} characters) leaves {max(room, 0)} tokens of the model's window "
            f"for the text; shorten it so that {SMALLEST_ROOM} are left",
            instruction_characters=len(instruction),
        )


def _tokens_before(tokenizer: Tokenizer, prefix: str) -> int:
    """Returns the tokens that a prefix adds to a text; the space at its end may belong to the text's first token."""
    with_prefix, alone = encode_texts(tokenizer, [f"{prefix}a", "a"])
    return len(with_prefix.ids) - len(alone.ids)


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Returns the tokens that the post-processor puts before and after a text."""
    encoding = tokenizer.encode("a")
    added = encoding.special_tokens_mask
    start = added.index(0)
    end = len(added) - added[::-1].index(0)
    return encoding.ids[:start], encoding.ids[end:]
