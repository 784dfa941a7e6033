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
from ingestion.pipeline.blocks import MAX_NESTING, Span, block_chars, block_end, fence_around, nesting, resume_at
from ingestion.pipeline.outline import Outline, Table, outline_of
from ingestion.pipeline.rows import row_spans
from ingestion.pipeline.settling import settled
from ingestion.types import ChunkSpan
from retrieval.text.tokenizer import count_tokens
from retrieval.types import ChunkId, DocumentId

MAX_CHUNK_BYTES = 58_000
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


def chunk_id(document_id: DocumentId, ordinal: int, text: str, fingerprint_digest: str) -> ChunkId:
    """Returns 32 hexadecimal digits: the same chunk of the same document and model has the same id, in every run."""
    identity = json.dumps([document_id, ordinal, text, fingerprint_digest])
    return ChunkId(sha256(identity.encode()).hexdigest()[:32])


def chunk_spans(
    text: str,
    *,
    tokenizer: Tokenizer,
    max_tokens: int,
    overlap: int,
    media_type: str,
    count: Count | None = None,
    outline: Outline | None = None,
) -> list[ChunkSpan]:
    """Returns the spans of chunks in order, none of them blank; together they hold everything of `text` except white
    space.

    A chunk has at most `max_tokens` tokens (special tokens not counted) and MAX_CHUNK_BYTES bytes, and repeats at most
    `overlap` tokens of the previous one. Splits follow the structure: headings, paragraphs, lines of code blocks, table
    rows and sentences; for plain text (by `media_type`) paragraphs, lines and sentences. No chunk is a heading or a
    line of a fence alone if there is room for it elsewhere. A chunk that begins among the rows of a table has the
    table's header, which counts as part of it, unless the header takes more than half of a chunk. Only a single
    character that has more tokens than `max_tokens` can exceed it. Chunks are counted by `count`; None: as `tokenizer`
    counts them. `outline` is that of the text, if it is known. Raises ValueError on impossible limits, or if
    `tokenizer` truncates or pads.
    """
    if not 0 <= overlap < max_tokens:
        raise ValueError(f"overlap must be at least 0 and less than max_tokens, got {overlap} and {max_tokens}")
    if tokenizer.truncation is not None or tokenizer.padding is not None:
        raise ValueError("the tokenizer must neither truncate nor pad: its counts would be wrong")
    outline = outline or outline_of(text, media_type)
    room = _Room(text, outline, count or partial(count_tokens, tokenizer), max_tokens)
    whole = _stripped(text, 0, len(text))
    if whole is None:
        return []
    if whole[1] - whole[0] <= max_tokens * _ONE_CHUNK_CHARS_PER_TOKEN and room.fits(*whole):
        return [room.chunk(whole)]
    code = outline.fences if becomes_markdown(media_type) else None
    split = partial(_split_lines, text, tokenizer, max_tokens, overlap, code)
    spans: list[Span] = []
    position = 0
    for start, end, table in _large_parts(room, outline.tables, code or ()):
        spans += split(position, start)
        if table:
            spans += row_spans(text, table, room.count, max_tokens, room.header_tokens(table), split)
        else:  # The splitter for Markdown would cut its lines; that for plain text cuts between them.
            spans += _split_lines(text, tokenizer, max_tokens, overlap, None, start, end)
        position = end
    spans += split(position, len(text))
    fitted = _fitted(room, spans)
    if code is None:
        return [room.chunk(span) for span in _kept(fitted)]

    def split_smaller(start: int, end: int) -> list[Span]:
        fence = fence_around(start + 1, code)
        outside = None if fence and end <= fence[1] else code
        pieces = _split_lines(text, tokenizer, max(max_tokens * 3 // 4, 1), 0, outside, start, end)
        return [span for span in (_stripped(text, *piece) for piece in pieces) if span]

    return [
        room.chunk(span)
        for span in _kept(_fitted(room, settled(text, _kept(fitted), outline, room.fits, split_smaller)))
    ]


def _large_parts(
    room: "_Room", tables: Sequence[Table], code: Sequence[Span]
) -> Iterator[tuple[int, int, Table | None]]:
    """Yields, in order, the tables and the code blocks (None) that do not fit into one chunk."""
    room.measure([span for span in code if span[1] - span[0] > room.max_tokens])
    blocks = [(*span, None) for span in code if span[1] - span[0] > room.max_tokens and not room.fits(*span)]
    large = [(table.start, table.end, table) for table in tables if not room.fits(table.start, table.end)]
    position = 0
    for part in sorted([*blocks, *large], key=lambda part: part[0]):
        if part[0] >= position:
            yield part
            position = part[1]


def _kept(spans: Sequence[Span]) -> list[Span]:
    # Without its margin of white space, the last piece of a text can be all overlap.
    ends = accumulate((end for _, end in spans), max, initial=0)
    kept = [span for span, before in zip(spans, ends, strict=False) if span[1] > before]
    # And one that is all overlap for those behind it begins no sooner than they do.
    found: list[Span] = []
    for span in reversed(kept):
        if not found or span[0] < found[-1][0]:
            found.append(span)
    return found[::-1]


class _Room:
    """How many tokens parts of a text have as chunks, with the header of the table that they begin in. Each part is
    counted once, and many at a time where that is known before."""

    def __init__(self, text: str, outline: Outline, count: Count, max_tokens: int) -> None:
        self.text = text
        self.count = count
        self.max_tokens = max_tokens
        self._outline = outline
        self._tokens: dict[Span, int] = {}
        self._header_tokens: dict[int, int] = {}

    def header_tokens(self, table: Table) -> int:
        """0 where the header is not repeated: it takes more than half of a chunk."""
        known = self._header_tokens.get(table.start)
        if known is None:
            header = self.text[table.start : table.rows]
            known = self.count([header])[0]
            if known > self.max_tokens // 2 or len(header.encode()) > MAX_CHUNK_BYTES // 2:
                known = 0
            self._header_tokens[table.start] = known
        return known

    def header(self, start: int) -> Span | None:
        """Of a chunk that begins at `start`."""
        table = self._outline.table_around(start)
        if table is None or start < table.rows or not self.header_tokens(table):
            return None
        return table.start, table.rows

    def measure(self, spans: Sequence[Span]) -> None:
        new = [span for span in dict.fromkeys(spans) if span not in self._tokens]
        for first in range(0, len(new), _BATCH):
            batch = new[first : first + _BATCH]
            self._tokens.update(zip(batch, self.count([self._read(span) for span in batch]), strict=True))

    def fits(self, start: int, end: int) -> bool:
        self.measure([(start, end)])
        return self._tokens[start, end] <= self.max_tokens and len(self._read((start, end)).encode()) <= MAX_CHUNK_BYTES

    def chunk(self, span: Span) -> ChunkSpan:
        self.measure([span])
        return ChunkSpan(*span, self._tokens[span], self._outline.section(*span), self.header(span[0]))

    def _read(self, span: Span) -> str:
        header = self.header(span[0])
        return (self.text[slice(*header)] if header else "") + self.text[slice(*span)]


# Building a splitter copies the whole vocabulary, which takes longer than chunking a short document, and memory.
@lru_cache(maxsize=8)
def _splitter(tokenizer: Tokenizer, max_tokens: int, overlap: int, markdown: bool) -> MarkdownSplitter | TextSplitter:
    kind = MarkdownSplitter if markdown else TextSplitter
    return kind.from_huggingface_tokenizer(tokenizer, max_tokens, overlap)


def _split_lines(
    text: str, tokenizer: Tokenizer, max_tokens: int, overlap: int, code: Sequence[Span] | None, start: int, end: int
) -> Iterator[Span]:
    """Chunks of a part of the text, lines of many chunks apart."""
    for line in _long_lines(max_tokens).finditer(text, start, end):
        yield from _split(text, tokenizer, max_tokens, overlap, code, start, line.start())
        for begin in range(line.start(), line.end(), _BLOCK_CHARS):
            stop = min(begin + _BLOCK_CHARS, line.end())
            yield from _windows(text, begin, stop, tokenizer, max_tokens, overlap)
        start = line.end()
    yield from _split(text, tokenizer, max_tokens, overlap, code, start, end)


def _long_lines(max_tokens: int) -> re.Pattern[str]:
    return re.compile(rf"[^\n]{{{min(_LONG_LINE_CHARS, _LONG_LINE_CHARS_PER_TOKEN * max_tokens)},}}")


def _split(
    text: str, tokenizer: Tokenizer, max_tokens: int, overlap: int, code: Sequence[Span] | None, start: int, end: int
) -> Iterator[Span]:
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


def _pieces(chunks: Sequence[tuple[int, str]], start: int) -> list[Span]:
    return [(start + offset, start + offset + len(chunk)) for offset, chunk in chunks]


def _windows(text: str, start: int, end: int, tokenizer: Tokenizer, max_tokens: int, overlap: int) -> Iterator[Span]:
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


def _fitted(room: _Room, spans: Sequence[Span]) -> list[Span]:
    """Without margins of white space, and with the few halved that are too large: tokens of a part can differ from
    those in context."""
    text = room.text
    stripped = [span for span in (_stripped(text, *span) for span in spans) if span]
    room.measure(stripped)
    fitted: list[Span] = []
    for begin, end in stripped:
        if end - begin <= 1 or room.fits(begin, end):
            fitted.append((begin, end))
            continue
        low, high = begin + (end - begin) // 4, begin + (end - begin + 1) // 2
        row = text.rfind("\n", low, high) + 1 if room.header(begin) else 0
        middle = row or _break_before(text, low, high)
        fitted += _fitted(room, [(begin, middle), (middle, end)])
    return fitted


def _stripped(text: str, start: int, end: int) -> Span | None:
    piece = text[start:end]
    body = piece.strip()
    if not body:
        return None
    start += len(piece) - len(piece.lstrip())
    return start, start + len(body)
