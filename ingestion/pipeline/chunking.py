"""Splits text into chunks that are exact in tokens and in character offsets (pure)."""

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from itertools import accumulate

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from ingestion.parsers.detect import becomes_markdown
from ingestion.pipeline.blocks import MAX_NESTING, block_chars, block_end, fence_around, fences, nesting, resume_at
from ingestion.types import ChunkSpan
from retrieval.text.tokenizer import count_tokens
from retrieval.types import ChunkId, DocumentId

MAX_CHUNK_BYTES = 60_000
"""UTF-8 bytes of a chunk; the store's text field holds little more."""

# A text of at most so many characters per token allowed may fit into one chunk: worth one look before splitting.
_ONE_CHUNK_CHARS_PER_TOKEN = 8
# The splitter looks at the rest of a line for each chunk in it, so lines of many chunks are cut here.
_LONG_LINE_CHARS = 8192
_LONG_LINE_CHARS_PER_TOKEN = 32
_BLOCK_CHARS = 16_384
# Encodings are large; only so many are held at a time.
_BATCH = 256
_SENTENCE_END = re.compile(r"[。！？；…!?;]+[”’」』）)\"']*|\.(?=\s)")
_SPACE = re.compile(r"\s+")

Count = Callable[[Sequence[str]], Sequence[int]]
"""Counts the tokens of each text, special tokens excluded."""
_Span = tuple[int, int]


def chunk_id(document_id: DocumentId, ordinal: int, text: str, fingerprint_digest: str) -> ChunkId:
    """Returns 32 hexadecimal digits: the same chunk of the same document and model has the same id, in every run."""
    identity = json.dumps([document_id, ordinal, text, fingerprint_digest])
    return ChunkId(sha256(identity.encode()).hexdigest()[:32])


def chunk_spans(
    text: str, *, tokenizer: Tokenizer, max_tokens: int, overlap: int, media_type: str, count: Count | None = None
) -> list[ChunkSpan]:
    """Returns the spans of chunks in order, none of them blank; together they hold everything of `text` except white
    space.

    A chunk has at most `max_tokens` tokens (special tokens not counted) and MAX_CHUNK_BYTES bytes, and repeats at most
    `overlap` tokens of the previous one. Splits follow the structure: headings, paragraphs, table rows and sentences;
    for plain text (by `media_type`) paragraphs, lines and sentences. Only a single character that has more tokens than
    `max_tokens` can exceed it. Chunks are counted by `count`; None: as `tokenizer` counts them. Raises ValueError on
    impossible limits, or if `tokenizer` truncates or pads.
    """
    if not 0 <= overlap < max_tokens:
        raise ValueError(f"overlap must be at least 0 and less than max_tokens, got {overlap} and {max_tokens}")
    if tokenizer.truncation is not None or tokenizer.padding is not None:
        raise ValueError("the tokenizer must neither truncate nor pad: its counts would be wrong")
    count = count or partial(count_tokens, tokenizer)
    whole = _stripped(text, 0, len(text))
    if whole is None:
        return []
    if whole[1] - whole[0] <= max_tokens * _ONE_CHUNK_CHARS_PER_TOKEN:
        ((_, tokens, size),) = _measured(text, [whole], count)
        if tokens <= max_tokens and size <= MAX_CHUNK_BYTES:
            return [ChunkSpan(*whole, tokens)]
    split = partial(_split, text, tokenizer, max_tokens, overlap, _fences_of(text, media_type))
    spans: list[_Span] = []
    position = 0
    for line in _long_lines(max_tokens).finditer(text):
        spans += split(position, line.start())
        for start in range(line.start(), line.end(), _BLOCK_CHARS):
            spans += _windows(text, start, min(start + _BLOCK_CHARS, line.end()), tokenizer, max_tokens, overlap)
        position = line.end()
    spans += split(position, len(text))
    fitted = _fitted(text, spans, count, max_tokens)
    # Without its margin of white space, the last piece of a text can be all overlap.
    ends = accumulate((span.end for span in fitted), max, initial=0)
    kept = [span for span, before in zip(fitted, ends, strict=False) if span.end > before]
    # And one that is all overlap for the next begins where the next one does.
    return [span for span, after in zip(kept, [*kept[1:], None], strict=True) if not after or span.start < after.start]


# Building a splitter copies the whole vocabulary, which takes longer than chunking a short document, and memory.
@lru_cache(maxsize=4)
def _splitter(tokenizer: Tokenizer, max_tokens: int, overlap: int, markdown: bool) -> MarkdownSplitter | TextSplitter:
    kind = MarkdownSplitter if markdown else TextSplitter
    return kind.from_huggingface_tokenizer(tokenizer, max_tokens, overlap)


def _long_lines(max_tokens: int) -> re.Pattern[str]:
    return re.compile(rf"[^\n]{{{min(_LONG_LINE_CHARS, _LONG_LINE_CHARS_PER_TOKEN * max_tokens)},}}")


def _fences_of(text: str, media_type: str) -> list[_Span] | None:
    """Returns the fences of a Markdown text; None if the text is not Markdown."""
    return fences(text) if becomes_markdown(media_type) else None


def _split(
    text: str, tokenizer: Tokenizer, max_tokens: int, overlap: int, code: list[_Span] | None, start: int, end: int
) -> Iterator[_Span]:
    """Yields chunks of a part of the text, block by block. `code` holds the fences of a Markdown text. Text that is
    nested too deep in lists and quotes is split as plain text, and so is the rest of a fence that is longer than a
    block.
    """
    chars = block_chars(max_tokens)
    while start < end:
        fence = fence_around(start, code or ())
        stop = block_end(text, start, min(end, fence[1]) if fence else end, chars)
        block = text[start:stop]
        markdown = code is not None and not fence and nesting(block) <= MAX_NESTING
        splitter = _splitter(tokenizer, max_tokens, overlap, markdown)
        spans = [] if block.isspace() else _pieces(splitter.chunk_indices(block), start)
        following = stop
        if stop < (fence[1] if fence else end):
            following = resume_at(text, [begin for begin, _ in spans], start, stop, code or ())
        yield from (span for span in spans if span[0] < following)
        start = following


def _pieces(chunks: Sequence[tuple[int, str]], start: int) -> list[_Span]:
    return [(start + offset, start + offset + len(chunk)) for offset, chunk in chunks]


def _windows(text: str, start: int, end: int, tokenizer: Tokenizer, max_tokens: int, overlap: int) -> Iterator[_Span]:
    """Yields windows over the tokens of one piece of a long line, cut after a sentence or a word if there is one."""
    offsets = tokenizer.encode(text[start:end], add_special_tokens=False).offsets
    begins = [start + offset[0] for offset in offsets]
    first, begin, covered = 0, start, start
    while True:
        last = first + max_tokens
        # Tokens of one character (bytes of it, in byte-level vocabularies) stay together.
        while first + 1 < last < len(begins) and begins[last] < start + offsets[last - 1][1]:
            last -= 1
        if last >= len(begins):
            yield begin, end
            return
        covered = _break_before(text, max(covered, (begin + begins[last]) // 2), begins[last])
        yield begin, covered
        after = bisect_left(begins, covered)
        first = max(after - overlap, first + 1)
        while first < after and (excess := _tokens(tokenizer, text[begins[first] : covered]) - overlap) > 0:
            first = min(first + excess, after)
        begin = min(begins[first], covered)


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))


def _break_before(text: str, low: int, high: int) -> int:
    """Returns the best place to cut in (low, high]: after the last sentence, else after the last word, else
    at `high`.
    """
    for pattern in (_SENTENCE_END, _SPACE):
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends and low < ends[-1]:
            return ends[-1]
    return high


def _fitted(text: str, spans: Sequence[_Span], count: Count, max_tokens: int) -> list[ChunkSpan]:
    """Counts every chunk, and halves the few that are too large: tokens of a part can differ from those in context."""
    fitted: list[ChunkSpan] = []
    for start in range(0, len(spans), _BATCH):
        batch = [span for span in (_stripped(text, *span) for span in spans[start : start + _BATCH]) if span]
        for (begin, end), tokens, size in _measured(text, batch, count):
            if end - begin > 1 and (tokens > max_tokens or size > MAX_CHUNK_BYTES):
                middle = _break_before(text, begin + (end - begin) // 4, begin + (end - begin + 1) // 2)
                fitted += _fitted(text, [(begin, middle), (middle, end)], count, max_tokens)
            else:
                fitted.append(ChunkSpan(begin, end, tokens))
    return fitted


def _measured(text: str, spans: Sequence[_Span], count: Count) -> list[tuple[_Span, int, int]]:
    """Returns each span with its tokens and its UTF-8 bytes."""
    chunks = [text[start:end] for start, end in spans]
    return [
        (span, tokens, len(chunk.encode())) for span, chunk, tokens in zip(spans, chunks, count(chunks), strict=True)
    ]


def _stripped(text: str, start: int, end: int) -> _Span | None:
    piece = text[start:end]
    body = piece.strip()
    if not body:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(body)
