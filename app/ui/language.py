"""The languages of the pages: English texts are the keys, `texts.zh.json` holds their Chinese translations."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, Literal

from starlette.requests import Request

from app import ROOT

Language = Literal["en", "zh"]

COOKIE: Final = "tandem_language"
TEXTS: Final = ROOT / "app" / "ui" / "texts.zh.json"


def language_of(request: Request) -> Language:
    """Returns the language that was chosen on the page, else the browser's first choice among both; English
    otherwise.
    """
    chosen = request.cookies.get(COOKIE)
    if chosen in ("en", "zh"):
        return "zh" if chosen == "zh" else "en"
    return _accepted(request.headers.get("accept-language", ""))


def translator(language: Language) -> Callable[[str], str]:
    """Returns the function that translates an English text of the page to `language`."""
    if language == "en":
        return lambda text: text
    texts = chinese()
    return lambda text: texts.get(text, text)


@cache
def chinese() -> Mapping[str, str]:
    return dict(json.loads(TEXTS.read_text(encoding="utf-8")))


def _accepted(header: str) -> Language:
    best: tuple[float, Language] = (0.0, "en")
    for part in header[:1000].split(","):
        name, _, parameters = part.strip().partition(";")
        language = name.partition("-")[0].lower()
        quality = _quality(parameters)
        if language in ("en", "zh") and quality > best[0]:
            best = (quality, "zh" if language == "zh" else "en")
    return best[1]


def _quality(parameters: str) -> float:
    try:
        return float(parameters.strip().removeprefix("q=")) if parameters else 1.0
    except ValueError:
        return 0.0
