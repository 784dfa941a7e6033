"""Numbers and dates as a spreadsheet shows them, by their number format (pure).

The format codes are those of ECMA-376, part 1, 18.8.31: up to four sections, placeholders for digits, and letters for
the parts of a date.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from math import isfinite

GENERAL = "General"
BUILT_IN = {
    0: GENERAL, 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?",
    13: "# ??/??", 14: "yyyy-mm-dd", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM",
    20: "h:mm", 21: "h:mm:ss", 22: "yyyy-mm-dd h:mm", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)",
    39: "#,##0.00;(#,##0.00)", 40: "#,##0.00;(#,##0.00)", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0",
    49: "@",
    # The formats of Chinese installations. Number 14 and 22 follow the reader's country, hence ISO above.
    **dict.fromkeys((27, 36, 50, 52, 57), 'yyyy"年"m"月"'), **dict.fromkeys((28, 29, 51, 53, 54, 58), 'm"月"d"日"'),
    30: "m-d-yy", 31: 'yyyy"年"m"月"d"日"', 32: 'h"时"mm"分"', 33: 'h"时"mm"分"ss"秒"', 34: '上午/下午h"时"mm"分"',
    35: '上午/下午h"时"mm"分"ss"秒"', 55: '上午/下午h"时"mm"分"', 56: '上午/下午h"时"mm"分"ss"秒"',
}  # fmt: skip
"""Codes of the numbered formats that files name without writing them down."""

_MAX_CODE = 256
_MAX_DAYS = 2_958_466
"""The year 10000, in days since 1900."""
_TOKEN = re.compile(
    r"""
    "(?P<quoted>[^"]*)"? | \\(?P<escaped>.) | (?P<blank>_.) | (?P<fill>\*.)
  | \[(?P<elapsed>h+|m+|s+)\] | \[\$(?P<currency>[^\]-]*)(?:-(?P<locale>[^\]]*))?\]
  | \[(?P<condition>[<>=]{1,2}-?[\d.]+)\] | \[[^\]]*\]
  | (?P<half>AM/PM|A/P|上午/下午) | (?P<general>General)
  | (?P<exponent>E[+-]) | (?P<date>y+|m+|d+|h+|s+|e+|aaaa?)
  | (?P<digits>[0\#?][0\#?,]*) | (?P<other>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CHINESE_DAYS = "一二三四五六日"
_CHINESE_MONTHS = ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")
_CHINESE_LOCALES = ("804", "404", "c04", "1004", "1404", "zh")


@dataclass(frozen=True, slots=True)
class _Section:
    tokens: tuple[tuple[str, str], ...]
    """Kind (a group of _TOKEN) and text of each."""
    condition: str
    chinese: bool

    def has(self, *kinds: str) -> bool:
        return any(kind in kinds for kind, _ in self.tokens)


@lru_cache(maxsize=2**16)
def shown(value: float, code: str, *, since_1904: bool = False) -> str:
    """`value` under the format `code`. A date is a number of days since 1900, or since 1904."""
    section, value = _chosen(_sections(code[:_MAX_CODE]), value)
    if section is None or not isfinite(value):
        return _general(value)
    if section.has("date", "elapsed", "half"):
        text = _date(section, value, since_1904)
        return _general(value) if text is None else text
    try:
        return " ".join(_number(section, value).split())
    except (InvalidOperation, ValueError, OverflowError):
        return _general(value)


def shown_text(text: str, code: str) -> str:
    """Text under the format `code`, which may put words around it."""
    sections = _sections(code[:_MAX_CODE])
    section = sections[-1]
    if len(sections) < 4 and not any(token == ("other", "@") for token in section.tokens):
        return text
    return "".join(text if token == ("other", "@") else _literal(*token) for token in section.tokens).strip()


@lru_cache(maxsize=1024)
def _sections(code: str) -> tuple[_Section, ...]:
    sections: list[_Section] = []
    tokens: list[tuple[str, str]] = []
    condition, chinese = "", False

    def end() -> None:
        sections.append(_Section(_with_minutes(tokens), condition, chinese))

    for match in _TOKEN.finditer(code):
        kind = match.lastgroup or ""
        text = match[kind] if kind else ""
        if match[0].startswith("[$"):
            chinese = chinese or (match["locale"] or "").lower().lstrip("0").startswith(_CHINESE_LOCALES)
            tokens.append(("quoted", match["currency"]))
        elif kind == "condition":
            condition = text
        elif (kind, text) == ("other", ";"):
            end()
            tokens, condition, chinese = [], "", False
        elif kind:
            tokens.append((kind, text))
    end()
    return tuple(sections[:4])


def _with_minutes(tokens: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """`m` after hours or before seconds means minutes."""
    found = list(tokens)
    parts = [index for index, (kind, _) in enumerate(found) if kind in ("date", "elapsed")]
    for place, index in enumerate(parts):
        kind, text = found[index]
        if kind != "date" or text[0] not in "mM" or len(text) > 2:
            continue
        before = found[parts[place - 1]][1] if place else ""
        after = found[parts[place + 1]][1] if place + 1 < len(parts) else ""
        if before[:1] in ("h", "H") or after[:1] in ("s", "S"):
            found[index] = "minutes", text
    return tuple(found)


def _chosen(sections: Sequence[_Section], value: float) -> tuple[_Section | None, float]:
    """The section for a value, and the value without the sign where the section says what is negative."""
    numeric = sections[:3]
    if any(section.condition for section in numeric):
        for section in numeric:
            if not section.condition or _holds(section.condition, value):
                return section, value
        return None, value
    if len(numeric) == 1 or value > 0:
        return numeric[0], value
    if value < 0:
        return numeric[1], -value
    return numeric[2 if len(numeric) > 2 else 0], value


def _holds(condition: str, value: float) -> bool:
    sign = condition.rstrip("-.0123456789")
    try:
        bound = float(condition[len(sign) :])
    except ValueError:
        return False
    return {
        "<": value < bound, ">": value > bound, "=": value == bound, "<=": value <= bound, ">=": value >= bound,
        "<>": value != bound,
    }.get(sign, False)  # fmt: skip


def _literal(kind: str, text: str) -> str:
    if kind == "blank":
        return " "
    return text if kind in ("quoted", "escaped", "other") else ""


def _general(value: float) -> str:
    """15 significant digits, which is what a spreadsheet keeps."""
    if not isfinite(value):
        return str(value)
    text = f"{value:.15g}"
    if "e" not in text:
        return text
    exponent = int(text.partition("e")[2])
    return f"{Decimal(text):f}" if -10 < exponent < 21 else text.upper()


# Numbers


def _number(section: _Section, value: float) -> str:
    tokens = list(section.tokens)
    if section.has("general"):
        return "".join(_general(value) if kind == "general" else _literal(kind, text) for kind, text in tokens)
    if not section.has("digits"):
        texts = [_general(value) if token == ("other", "@") else _literal(*token) for token in tokens]
        return ("-" if value < 0 and any(texts) else "") + "".join(texts)
    number = Decimal(f"{abs(value):.15g}")
    number *= Decimal(100) ** sum(token == ("other", "%") for token in tokens)
    sign = "-" if value < 0 else ""
    if any(token == ("other", "/") for token in tokens):
        return sign + _fraction(tokens, number)
    if section.has("exponent"):
        return sign + _scientific(tokens, number)
    text, zero = _decimal(tokens, number)
    return text if zero else sign + text


def _decimal(tokens: Sequence[tuple[str, str]], number: Decimal) -> tuple[str, bool]:
    """The number, and whether nothing but zeros is left of it."""
    point = next((index for index, token in enumerate(tokens) if token == ("other", ".")), len(tokens))
    last = max(index for index, (kind, _) in enumerate(tokens) if kind == "digits")
    scaling = sum(len(tokens[index][1]) - len(tokens[index][1].rstrip(",")) for index in {last, max(point - 1, 0)})
    number = number.scaleb(-3 * scaling)
    whole_places = [text.rstrip(",") for kind, text in tokens[:point] if kind == "digits"]
    grouped = any("," in text for text in whole_places)
    places = sum(len(text.replace(",", "")) for kind, text in tokens[point:] if kind == "digits")
    rounded = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    whole, _, rest = f"{rounded:f}".partition(".")
    whole = whole.lstrip("0")
    pieces: list[str] = []
    count = 0
    first = next((index for index, (kind, _) in enumerate(tokens[:point]) if kind == "digits"), None)
    for index in range(point - 1, -1, -1):
        kind, text = tokens[index]
        if kind != "digits":
            pieces.append(_literal(kind, text))
            continue
        marks = text.replace(",", "")[::-1]
        for place, mark in enumerate(marks):
            taken = whole[-1:]
            if index == first and place == len(marks) - 1 and len(whole) > 1:
                taken = whole
            whole = whole[: len(whole) - len(taken)]
            for digit in reversed(taken or {"0": "0", "?": " "}.get(mark, "")):
                if grouped and count and count % 3 == 0:
                    pieces.append(",")
                pieces.append(digit)
                count += 1
    head = "".join(reversed(pieces))
    if first is None and whole:
        head += whole
    tail: list[str] = []
    at = 0
    for kind, text in tokens[point:]:
        if kind != "digits":
            tail.append(_literal(kind, text))
            continue
        for mark in text.replace(",", ""):
            digit = rest[at : at + 1] or "0"
            optional = mark != "0" and not rest[at:].strip("0")
            tail.append("" if optional else digit)
            at += 1
    return head + "".join(tail), not rounded


def _scientific(tokens: Sequence[tuple[str, str]], number: Decimal) -> str:
    at = next(index for index, (kind, _) in enumerate(tokens) if kind == "exponent")
    mantissa, power = tokens[:at], [text for kind, text in tokens[at + 1 :] if kind == "digits"]
    whole = 0
    for token in mantissa:
        if token == ("other", "."):
            break
        whole += len(token[1].replace(",", "")) if token[0] == "digits" else 0
    exponent = 0 if not number else number.adjusted()
    exponent -= exponent % max(whole, 1)
    head, _ = _decimal(mantissa, number.scaleb(-exponent))
    sign = "-" if exponent < 0 else "+" if tokens[at][1].endswith("+") else ""
    return f"{head}E{sign}{abs(exponent):0{len(''.join(power)) or 1}}"


def _fraction(tokens: Sequence[tuple[str, str]], number: Decimal) -> str:
    slash = tokens.index(("other", "/"))
    before = [text for kind, text in tokens[:slash] if kind == "digits"]
    fixed = "".join(text for kind, text in tokens[slash + 1 :] if kind == "digits" or text.isdecimal())
    whole = int(number) if len(before) > 1 else 0
    part = Fraction(number - whole)
    if fixed.strip("0#?") or (fixed.isdecimal() and fixed.strip("0")):
        below = int(fixed.replace("#", "").replace("?", "")[:4] or "1") or 1
        above = int(part * below + Fraction(1, 2))
    else:
        part = part.limit_denominator(10 ** min(len(fixed) or 1, 4) - 1)
        above, below = part.numerator, part.denominator
    if above == below and len(before) > 1:
        whole, above = whole + 1, 0
    if not above:
        return str(whole)
    return f"{whole} {above}/{below}" if whole else f"{above}/{below}"


# Dates and times


def _date(section: _Section, value: float, since_1904: bool) -> str | None:
    """None for what is no date."""
    if not 0 <= value < _MAX_DAYS:
        return None
    places = next(
        (
            len(text)
            for before, (kind, text) in zip(section.tokens, section.tokens[1:], strict=False)
            if before == ("other", ".") and kind == "digits"
        ),
        0,
    )
    unit = 10 ** min(places, 3)
    ticks = int(Decimal(f"{value:.15g}") * 86400 * unit + Decimal("0.5"))
    seconds, fraction = divmod(ticks, unit)
    days, of_day = divmod(seconds, 86400)
    # Day 60 of 1900 is the 29th of February, which there was not.
    origin = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30 if days >= 60 else 31)  # noqa: DTZ001
    try:
        moment = origin + timedelta(days=days, seconds=of_day)
    except OverflowError:
        return None
    half = section.has("half")
    pieces = []
    for kind, text in section.tokens:
        match kind:
            case "date":
                pieces.append(_of_date(moment, text.lower(), half, section.chinese))
            case "minutes":
                pieces.append(f"{moment.minute:0{len(text)}}")
            case "elapsed":
                each = {"h": 3600, "m": 60, "s": 1}[text[0].lower()]
                pieces.append(f"{seconds // each:0{len(text)}}")
            case "half":
                early, late = text.split("/")
                pieces.append(early if moment.hour < 12 else late)
            case "digits":
                pieces.append(f"{fraction:0{len(str(unit)) - 1}}" if pieces and pieces[-1] == "." else "")
            case _:
                pieces.append("" if (kind, text) == ("other", "@") else _literal(kind, text))
    return " ".join("".join(pieces).split())


def _of_date(moment: datetime, letters: str, half: bool, chinese: bool) -> str:
    count = len(letters)
    match letters[0]:
        case "y":
            return f"{moment.year % 100:02}" if count < 3 else f"{moment.year:04}"
        case "e":
            return f"{moment.year:04}"
        case "m":
            if count < 3:
                return f"{moment.month:0{count}}"
            if chinese:
                return f"{_CHINESE_MONTHS[moment.month - 1]}月"
            name = _MONTHS[moment.month - 1]
            return name[:3] if count == 3 else name[0] if count == 5 else name
        case "d" if count < 3:
            return f"{moment.day:0{count}}"
        case "a" | "d":
            weekday = moment.weekday()
            if letters[0] == "a" or chinese:
                short = "" if letters[0] == "a" else "周"
                return f"{short if count == 3 else '星期'}{_CHINESE_DAYS[weekday]}"
            return _DAYS[weekday][:3] if count == 3 else _DAYS[weekday]
        case "h":
            hour = ((moment.hour - 1) % 12 + 1) if half else moment.hour
            return f"{hour:0{min(count, 2)}}"
        case _:
            return f"{moment.second:0{min(count, 2)}}"
