"""The words of texts and queries that BM25 counts. Milvus Lite's process calls this module, and a Milvus server gets
its results, so the words are the same on all stores.

Spellings of one word are one word: full-width and half-width, upper and lower case, with and without accents,
traditional and simplified characters, digits of any script. A text that can be found by several words with other
letters counts as all of them: codes as a whole and by their parts (`rtx4090`, `rtx`, `4090`), Chinese as words of a
dictionary, as pairs of characters, and as characters.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import opencc
import rjieba
import Stemmer

VERSION: Final = 2
"""Raised whenever the words of a text become others. A collection's schema names the version that it was made with,
and its texts and queries keep to it."""

ENGLISH_STOP_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
        "this to was will with",
    )
)
"""The stop words that `_english_` names on a Milvus server."""
_LONGEST: Final = 64
"""Maximum number of characters of a word. Longer runs are counted in pieces."""
_MOST_PARTS: Final = 4
"""Maximum number of parts of a code that is found by its parts: one with more is a hash or a key."""

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u1049\u1050-\u109d\u1780-\u17d3\u3041-\u3096\u30a1-\u30fa"
    "\u30fc-\u30ff\uac00-\ud7a3"
)
"""Thai, Lao, Burmese, Khmer and kana, which have no spaces between words, and Hangul, where particles follow words."""
_MARKS = "".join(chr(point) for point in range(0x10000) if unicodedata.category(chr(point)) in ("Mn", "Mc"))
"""Vowel signs for the most part, which `\\w` leaves out."""
_LETTERS = rf"(?:[^\W\d_{_HAN}{_UNSPACED}]|[{_MARKS}])+"
_RUNS = re.compile(
    rf"(?P<han>[{_HAN}]+)|(?P<unspaced>[{_UNSPACED}]+)|(?P<code>(?:{_LETTERS}|\d+)+(?:[-./_,](?:{_LETTERS}|\d+)+)*)"
)
_ASCII_RUNS = re.compile(r"[a-z\d]+(?:[-./_,][a-z\d]+)*")
"""The matches of `_RUNS` in ASCII, found faster."""
_PARTS = re.compile(rf"(?P<thousands>\d{{1,3}}(?:,\d{{3}})+(?!\d))|(?P<number>\d+(?:\.\d+)*)|(?P<letters>{_LETTERS})")
_BETWEEN_PARTS = re.compile(r"[-./_,]+")
_BETWEEN_PIECES = re.compile(r"[-/_,]+")
_ACCENTS = re.compile("[\u0300-\u036f]")
_STROKES = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
"""Letters that have no accent apart from them."""

_stemmer = Stemmer.Stemmer("english", 0)


def of_text(text: str) -> list[str]:
    """Returns the words of a text, each as often as it occurs; letters, digits, marks and `_`, at most 64
    characters.
    """
    return list(_words(text, query=False))


def of_query(text: str) -> list[str]:
    """Returns the words to search for. Single characters of Chinese words are not among them: texts that contain them
    separately are about other subjects.
    """
    return list(_words(text, query=True))


def joined(words: Iterable[str], limit: int) -> str:
    """Joins words with spaces, in at most `limit` bytes of UTF-8, for a store that splits texts at spaces. If they
    exceed the limit, no word is repeated before each has occurred once, and those that do not fit are omitted.
    """
    every = list(words)
    text = " ".join(every)
    if len(text.encode()) <= limit:
        return text
    once = dict.fromkeys(every)
    left = limit
    kept = []
    for word in [*once, *every]:
        left -= len(word.encode()) + 1
        if left < 0:
            break
        kept.append(word)
    return " ".join(kept)


def folded(text: str) -> str:
    """Returns the one spelling of texts that differ as the module's docstring describes."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return text.translate(_plain_characters())


@lru_cache(maxsize=1)
def _plain_characters() -> dict[int, str]:
    """Maps traditional characters to simplified ones, digits to ASCII, and letters with strokes to plain letters."""
    han = [chr(point) for first, last in ((0x3400, 0x9FFF), (0x20000, 0x323AF)) for point in range(first, last + 1)]
    # One a line, so that none is taken for a part of a phrase.
    simplified = opencc.OpenCC("t2s").convert("\n".join(han)).split("\n")
    plain = {ord(one): other for one, other in zip(han, simplified, strict=True) if one != other}
    plain |= {ord(letter): other for letter, other in _STROKES.items()}
    # Up to where digits are styles of the ASCII ones, which NFKC knows.
    digits = (point for point in range(0x80, 0x1D7CE) if unicodedata.category(chr(point)) == "Nd")
    return plain | {point: str(unicodedata.decimal(chr(point))) for point in digits}


def _words(text: str, *, query: bool) -> Iterator[str]:
    text = folded(text)
    if text.isascii():
        for code in _ASCII_RUNS.findall(text):
            yield from _of_code(code) if len(code) <= _LONGEST else _code(code)
        return
    for run in _RUNS.finditer(text):
        if run["han"]:
            yield from _grams(run["han"], rjieba.cut_for_search(run["han"]), query=query)
        elif run["unspaced"]:
            yield from _grams(run["unspaced"], [], query=query)
        else:
            code = run["code"]
            yield from _of_code(code) if len(code) <= _LONGEST else _code(code)


def _grams(run: str, words: list[str], *, query: bool) -> Iterator[str]:
    """The words that a dictionary finds in it, pairs of characters, and in texts the characters as well.

    Measured on CMRC 2018, nDCG@10: words of the dictionary alone 0.983, with pairs 0.985; pairs alone 0.985. With
    characters in queries as well it is 0.986, but Chinese queries to English texts (XQuAD) fall from 0.107 to 0.102.
    """
    yield from words
    known = set(words)
    pairs = [run[start : start + 2] for start in range(max(1, len(run) - 1))]
    yield from (pair for pair in pairs if pair not in known)
    if not query:
        known.update(pairs)
        yield from (character for character in run if character not in known)


@lru_cache(200_000)
def _of_code(run: str) -> tuple[str, ...]:
    """Of one that is no longer than a word."""
    return tuple(_code(run))


def _code(run: str) -> Iterator[str]:
    """Yields the words of a run: a word, several that a sign joins, a number, or a code of letters and digits."""
    parts = list(_PARTS.finditer(run))
    if any(part["number"] or part["thousands"] for part in parts) and len(parts) <= _MOST_PARTS:
        wholes = [run, *_BETWEEN_PIECES.split(run)]
        yield from dict.fromkeys(_BETWEEN_PARTS.sub("_", each) for each in wholes if not _PARTS.fullmatch(each))
        for part in parts:
            yield from _counted(part[0]) if part["letters"] else _number(part)
        return
    pieces = _BETWEEN_PARTS.split(run)
    if len(pieces) > 1 and ("_" in run or len(parts) > _MOST_PARTS):
        yield from _bounded("_".join(pieces))
    for piece in pieces:
        yield from _counted(piece)


def _number(part: "re.Match[str]") -> Iterator[str]:
    digits = re.split(r"[.,]", part[0])
    if len(digits) > 1:
        yield "".join(digits) if part["thousands"] else "_".join(digits)
    yield from digits


def _counted(word: str) -> Iterator[str]:
    if word not in ENGLISH_STOP_WORDS:
        yield from _bounded(_stemmer.stemWord(word))


def _bounded(word: str) -> Iterator[str]:
    return (word[start : start + _LONGEST] for start in range(0, len(word), _LONGEST))
