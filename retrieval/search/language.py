"""Detects the scripts of a text, as far as models and word search distinguish them. Pure."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from retrieval.types import Language

_SCRIPTS: Mapping[Language, str] = {"en": "LATIN", "zh": "CJK"}
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "BOPOMOFO": "CJK"}
_FOREIGN_SHARE = 0.5
"""Share of foreign letters from which on a text counts as unreadable for a model."""
_WORDLIKE = {"CJK": 2, "HANGUL": 2}
"""One of these characters says as much as several letters of an alphabet."""
_OF_DIGIT = 5
"""Weight of a digit: a year or an amount in a query finds its passages in any language."""
_PRESENT = 0.2
"""Share of the letters of passages, from which on their collection is written in a script, too. Names and terms in
Latin letters are a twentieth to a tenth of Chinese texts."""


def is_foreign(text: str, languages: Sequence[Language]) -> bool:
    """Returns whether models for `languages` cannot read the text, because most of it is in scripts of other languages.
    Models for `mixed` read all.
    """
    if "mixed" in languages:
        return False
    read = {_SCRIPTS[language] for language in languages}
    letters = script_letters([text])
    return sum(count for script, count in letters.items() if script not in read) > _FOREIGN_SHARE * letters.total()


def script_overlap(query: str, passages: Iterable[str]) -> float:
    """Returns the share of the query's letters, in [0, 1], whose script occurs in the passages. Digits are letters of
    every script. 1 if either side has no other letters.
    """
    asked, there = script_letters([query]), script_letters(passages)
    if not asked or not there:
        return 1.0
    least = _PRESENT * there.total()
    digits = _OF_DIGIT * sum(map(str.isdecimal, query))
    shared = sum(count for script, count in asked.items() if there[script] >= least)
    return (shared + digits) / (asked.total() + digits)


def script_letters(texts: Iterable[str]) -> Counter[str]:
    """Counts letters by script (`LATIN`, `CJK`, `CYRILLIC`…). Letters that stand for a word or a syllable have a higher
    weight.
    """
    found: Counter[str] = Counter()
    for character, count in Counter("".join(texts)).items():
        script = _script(character)
        if script:
            found[script] += count * _WORDLIKE.get(script, 1)
    return found


@lru_cache(maxsize=16_384)
def _script(character: str) -> str | None:
    """Returns the first word of the character's Unicode name; None if it is not a letter. Full-width letters and
    ligatures are normalised first.
    """
    if not character.isalpha():
        return None
    first = unicodedata.normalize("NFKC", character)[0]
    script = unicodedata.name(first, "UNKNOWN").partition(" ")[0]
    return _ONE_SCRIPT.get(script, script)
