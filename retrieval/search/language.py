"""Which script a text is written in, as far as models differ in it. Pure."""

import re
from collections.abc import Sequence

from retrieval.types import Language

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LETTER = re.compile(r"[^\W\d_]")
_SHARE = 0.3
"""Of Han among the letters, from which on a text is Chinese: one of its characters says as much as an English word."""


def is_foreign(text: str, languages: Sequence[Language]) -> bool:
    """Whether models for `languages` cannot read it: Chinese, where they do not name it."""
    if "zh" in languages:
        return False
    return len(_HAN.findall(text)) > _SHARE * len(_LETTER.findall(text))
