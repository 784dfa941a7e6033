"""The passage that both models read: the document's title, the chunk's section where the collection has it so, the
header of its table, and its text. A chunk from the middle of a document often does not name its subject; these do."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from retrieval.types import Chunk

MAX_TITLE_TOKENS = 64
"""A title is repeated with every chunk, so a long one would crowd out the text."""


MAX_PATH_TOKENS = 64
"""Of a section in front of its passages."""


def passage(title: str, text: str) -> str:
    """Returns the text that is embedded, searched by words, and reranked."""
    return f"{title}\n{text}" if title else text


def passage_of(title: str, chunk: Chunk) -> str:
    return passage(title, f"{chunk.path}\n{chunk.full_text}" if chunk.path else chunk.full_text)


def fit_title(title: str, tokenizer: Tokenizer) -> tuple[str, int]:
    """Returns the title cut to MAX_TITLE_TOKENS, and the tokens that it adds to each passage."""
    if not title:
        return "", 0
    encoding = tokenizer.encode(passage(title, ""), add_special_tokens=False)
    if len(encoding.ids) <= MAX_TITLE_TOKENS:
        return title, len(encoding.ids)
    cut = title[: encoding.offsets[MAX_TITLE_TOKENS - 1][1]].rstrip()
    return cut, len(tokenizer.encode(passage(cut, ""), add_special_tokens=False).ids)


def path_line(section: Sequence[str], title: str, tokenizer: Tokenizer) -> str:
    """Returns a section in one line of at most MAX_PATH_TOKENS, of the innermost headings that fit. A first heading
    that is the document's title is left out.
    """
    headings = section[1:] if section and section[0] == title else section
    while headings:
        line = " > ".join(headings)
        if len(tokenizer.encode(f"{line}\n", add_special_tokens=False).ids) <= MAX_PATH_TOKENS:
            return line
        headings = headings[1:]
    return ""
