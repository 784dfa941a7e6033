"""Computes the numbers of paragraphs in Word, which the text does not contain (pure)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingestion.parsers.office.package import Element, small_number

_PLACE = re.compile(r"%([1-9])")
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_CHINESE = "零一二三四五六七八九"


@dataclass(frozen=True, slots=True)
class _Level:
    kind: str
    text: str
    start: int


class Numbering:
    """Counts the paragraphs of a document. Call it for the paragraphs in order."""

    def __init__(self, root: Element | None) -> None:
        self._lists: dict[str, tuple[str, dict[int, _Level]]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        if root is None:
            return
        abstract = {
            each.get("abstractNumId", ""): {
                small_number(level.get("ilvl")): _level(level) for level in each.findall("lvl")
            }
            for each in root.findall("abstractNum")
        }
        for each in root.findall("num"):
            link = each.find("abstractNumId")
            key = "" if link is None else link.get("val", "")
            levels = dict(abstract.get(key, {}))
            counter = key
            for override in each.findall("lvlOverride"):
                number = small_number(override.get("ilvl"))
                if (own := override.find("lvl")) is not None:
                    levels[number] = _level(own)
                start = override.find("startOverride")
                if start is not None and number in levels:
                    levels[number] = _Level(levels[number].kind, levels[number].text, small_number(start.get("val")))
                    counter = f"num {each.get('numId')}"
            self._lists[each.get("numId", "")] = counter, levels

    def label(self, list_id: str, depth: int) -> str | None:
        """Returns the label of the next paragraph: `-` for a bullet, `2.1.` for a number, None for neither."""
        counter, levels = self._lists.get(list_id, ("", {}))
        level = levels.get(depth)
        if level is None:
            return None
        counts = self._counts.setdefault(counter, {})
        counts[depth] = counts.get(depth, level.start - 1) + 1
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]
        if level.kind == "bullet":
            return "-"

        def number(place: re.Match[str]) -> str:
            at = int(place[1]) - 1
            of = levels.get(at)
            return _written(counts.get(at, of.start if of else 1), of.kind if of else "decimal")

        return None if level.kind == "none" else _PLACE.sub(number, level.text).strip() or None


def _level(element: Element) -> _Level:
    def value(name: str, default: str) -> str:
        found = element.find(name)
        return default if found is None else found.get("val", default)

    return _Level(value("numFmt", "decimal"), value("lvlText", ""), small_number(value("start", "1")))


def _written(number: int, kind: str) -> str:
    return _KINDS.get(kind, str)(number)


def _letters(number: int) -> str:
    """Returns a to z, then aa to zz, as Word counts."""
    return chr(97 + (number - 1) % 26) * min((number - 1) // 26 + 1, 20) if number > 0 else str(number)


def _roman(number: int) -> str:
    if not 0 < number < 4000:
        return str(number)
    text = ""
    for value, letters in _ROMAN:
        text += letters * (number // value)
        number %= value
    return text


def _chinese(number: int) -> str:
    if not 0 < number < 100:
        return str(number)
    tens, ones = divmod(number, 10)
    head = "" if not tens else "十" if tens == 1 else _CHINESE[tens] + "十"
    return head + (_CHINESE[ones] if ones or not tens else "")


_KINDS: dict[str, Callable[[int], str]] = {
    "decimalZero": lambda number: f"{number:02}",
    "lowerLetter": _letters,
    "upperLetter": lambda number: _letters(number).upper(),
    "lowerRoman": _roman,
    "upperRoman": lambda number: _roman(number).upper(),
    "chineseCounting": _chinese,
    "chineseCountingThousand": _chinese,
    "japaneseCounting": _chinese,
    "taiwaneseCountingThousand": _chinese,
}
