"""Chunks one parsed document for an embedder: a title for all chunks, and chunks that fit the window
together with it.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tokenizers import Tokenizer

from ingestion.parsers.detect import becomes_markdown
from ingestion.pipeline.chunking import Count, chunk_id, chunk_spans
from ingestion.pipeline.language_detection import UNKNOWN, detect_language
from ingestion.pipeline.outline import FRONT_MATTER, outline_of
from ingestion.types import Chunking, ChunkLayout, ChunkSpan, Document, ParsedDocument
from retrieval.embedders import has_section_prefix
from retrieval.ports import Embedder
from retrieval.text.passages import MAX_PATH_TOKENS, fit_title, passage, path_line
from retrieval.text.tokenizer import count_tokens
from retrieval.types import Chunk, DocumentId

_FRONT_TITLE = re.compile(r"^title:[ \t]*(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\n]+?))[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"\s*(?:# +([^\n]{1,500}?)[ #]*(?:\n|$)|([^\s#>|`~+*=-][^\n]{0,499}?)[ \t]*\n=+[ \t]*(?:\n|$))")


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """The document's text and the positions of its chunks. Only the chunks in process exist twice in memory."""

    id: DocumentId
    title: str
    """The title that every chunk is embedded with."""
    parsed: ParsedDocument
    spans: Sequence[ChunkSpan]
    fingerprint_digest: str
    sections: bool = True
    """Whether the collection keeps sections and table headers."""
    language: str = UNKNOWN
    """Stated or detected."""

    def chunks(self) -> Iterator[Chunk]:
        """Yields the chunks in order."""
        starts = [page.start for page in self.parsed.pages]
        for ordinal, span in enumerate(self.spans):
            text = self.parsed.text[span.start : span.end]
            header = self.parsed.text[slice(*span.header)].rstrip("\n") if span.header and self.sections else ""
            page = max(bisect_right(starts, span.start) - 1, 0) if starts else None
            yield Chunk(
                id=chunk_id(self.id, ordinal, text, self.fingerprint_digest),
                document_id=self.id,
                ordinal=ordinal,
                text=text,
                start=span.start,
                end=span.end,
                tokens=span.tokens,
                page=None if page is None else self.parsed.pages[page].number,
                section=span.section if self.sections else (),
                header=header,
                path=span.path if self.sections else "",
            )


@dataclass(frozen=True, slots=True)
class ChunkingPlan:
    """The parameters that decide how a text is chunked."""

    title: str
    """Empty: the text's own."""
    tokenizer: Tokenizer
    window: int
    """Longest passage in tokens, special tokens not counted."""
    chunking: Chunking
    section_prefix: bool = False
    """Whether passages begin with their section."""


def plan_for(document: Document, embedder: Embedder) -> ChunkingPlan:
    return ChunkingPlan(
        document.title,
        embedder.tokenizer,
        embedder.max_tokens,
        document.chunking,
        has_section_prefix(embedder.fingerprint),
    )


def layout(parsed: ParsedDocument, plan: ChunkingPlan, count: Count | None = None) -> ChunkLayout:
    """Chunks a parsed document. Passages are counted by `count`; None: by the plan's tokenizer."""
    count = count or partial(count_tokens, plan.tokenizer)
    title, title_tokens = fit_title(plan.title or parsed.title or own_title(parsed), plan.tokenizer)
    outline = outline_of(parsed.text, parsed.media_type)
    with_paths = plan.section_prefix and bool(outline.headings)
    max_tokens = min(plan.chunking.max_tokens, plan.window - title_tokens - (MAX_PATH_TOKENS if with_paths else 0))

    def count_chunks(chunks: Sequence[str]) -> Sequence[int]:
        # With the title: the very passages that are embedded next.
        return [tokens - title_tokens for tokens in count([passage(title, chunk) for chunk in chunks])]

    spans = chunk_spans(
        parsed.text,
        tokenizer=plan.tokenizer,
        max_tokens=max_tokens,
        overlap=min(plan.chunking.overlap, max_tokens // 2),
        media_type=parsed.media_type,
        count=count_chunks,
        outline=outline,
    )
    if with_paths:
        lines = {section: path_line(section, title, plan.tokenizer) for section in {span.section for span in spans}}
        spans = [replace(span, path=lines[span.section]) for span in spans]
    return ChunkLayout(title, tuple(spans))


def chunk_document(
    document: Document, parsed: ParsedDocument, embedder: Embedder, *, sections: bool = True
) -> ChunkedDocument:
    """Returns the document with the chunks of its parse, or chunks it here. A document without text has no spans.
    `sections`: whether the collection keeps sections and table headers."""
    done = parsed.layout or layout(parsed, plan_for(document, embedder), embedder.count)
    return ChunkedDocument(
        document.id,
        done.title,
        parsed,
        done.spans,
        embedder.fingerprint.digest,
        sections,
        document.language or detect_language(parsed.text),
    )


def own_title(parsed: ParsedDocument) -> str:
    """Returns the title of a Markdown text: that of its front matter, or else the heading that it begins with; empty
    without.
    """
    if not becomes_markdown(parsed.media_type):
        return ""
    front = FRONT_MATTER.match(parsed.text)
    if front and (title := _FRONT_TITLE.search(front[1])):
        return (title[1] or title[2] or title[3])[:500]
    heading = _HEADING.match(parsed.text, front.end() if front else 0)
    return heading[1] or heading[2] if heading else ""
