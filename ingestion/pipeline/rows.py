"""Tables that are longer than a chunk: cut between rows, with room for the header in each chunk (pure)."""

from collections.abc import Callable, Iterator, Sequence

from ingestion.pipeline.blocks import Span
from ingestion.pipeline.outline import Table

_BATCH = 256


def row_spans(
    text: str,
    table: Table,
    count: Callable[[Sequence[str]], Sequence[int]],
    max_tokens: int,
    header_tokens: int,
    split: Callable[[int, int], Iterator[Span]],
) -> Iterator[Span]:
    """The first chunk begins with the header, the others with a row. `header_tokens`: of what is put before them; 0
    where nothing is. A row that is too long by itself is cut by `split`."""
    lines = _lines(text, table.rows, table.end)
    begin, used = table.start, count([text[table.start : table.rows]])[0]
    if used > max_tokens:
        yield from split(table.start, table.rows)
        begin, used = table.rows, header_tokens
    for first in range(0, len(lines), _BATCH):
        batch = lines[first : first + _BATCH]
        for (start, end), tokens in zip(batch, count([text[start:end] for start, end in batch]), strict=True):
            if header_tokens + tokens > max_tokens:
                if begin < start:
                    yield begin, start
                yield from split(start, end)
                begin, used = end, header_tokens
                continue
            if used + tokens > max_tokens and begin < start:
                yield begin, start
                begin, used = start, header_tokens
            used += tokens
    if begin < table.end:
        yield begin, table.end


def _lines(text: str, start: int, end: int) -> list[Span]:
    found = []
    while start < end:
        stop = text.find("\n", start, end) + 1 or end
        found.append((start, stop))
        start = stop
    return found
