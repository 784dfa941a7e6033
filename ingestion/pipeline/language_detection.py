"""Detects the language that most of a document is written in. It is that of all its chunks: many of them (tables,
headings, code) hold too little text to be judged alone, and filters agree with the documents that are counted.
"""

from functools import cache
from threading import Lock
from typing import Final

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNKNOWN: Final = ""
SAMPLE: Final = 100
"""Characters that are read of each of a text's beginning, middle and end: 0.14 ms, however long the text is. Detection
from twice as many was two thirds of what the threads of a worker process compute, beside work that takes its caches."""
MIN_CONFIDENCE: Final = 0.2
"""Of a probability that the detector scales by the length of the text. Words such as `hello` stay below, sentences
above."""
_NO_LANGUAGE: Final = "zxx"
"""The detector's class of numbers, addresses and code."""
_CHINESE: Final = {"yue": "zh", "wuu": "zh"}
"""Written Chinese of regions, which cannot be told apart in short texts."""

_loading = Lock()


def detect_language(text: str) -> str:
    """Returns a code of two letters (ISO 639-1), UNKNOWN for texts that are too short or hold no language. The first
    call takes a second and 100 MB, for the model.
    """
    if len(text) > 3 * SAMPLE:
        middle = (len(text) - SAMPLE) // 2
        text = f"{text[:SAMPLE]}\n{text[middle : middle + SAMPLE]}\n{text[-SAMPLE:]}"
    with _loading:
        identifier = _identifier()
    language, _ = identifier.classify(text)
    found = _CHINESE.get(language, language)
    return found if len(found) == 2 else UNKNOWN


@cache
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=MIN_CONFIDENCE)
    # Without languages that few texts are written in, to which short texts of their neighbours would be counted.
    kept = (*_CHINESE, _NO_LANGUAGE)
    identifier.set_languages([label for label in identifier.labels if len(label) == 2 or label in kept])
    return identifier
