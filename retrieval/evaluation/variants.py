"""Makes variants of the queries of a judged collection by rules, to measure what `variants` of a search do to ranking:
they say the same with fewer words, as the query of a search engine, or of an assistant, does.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import rjieba

from retrieval.evaluation.datasets import Dataset
from retrieval.text.words import ENGLISH_STOP_WORDS, folded

STOP_WORDS: Final = ENGLISH_STOP_WORDS | frozenset(
    re.findall(
        r"\w+",
        "about all also am any been can could did do does each from had has have he her his how i its many me most "
        "much my one our she should so some than them those us was we were what when where which who whom whose why "
        "would you your "
        "的 了 是 在 和 与 及 或 有 被 把 对 从 到 于 为 以 由 向 这 那 这个 那个 哪 哪个 哪些 哪里 哪儿 哪年 "
        "什么 何 何时 谁 吗 呢 吧 啊 怎么 怎样 如何 为什么 为何 多少 几 几个 它 他 她 他们 它们 "
        "其 之 所 而 都 也 就 还 等 中 上 下 请问 是否 一个 哪种 什么样",
    )
)
"""Words of English and Chinese that carry no subject, those of questions among them."""


def machine_made(dataset: Dataset) -> Mapping[str, tuple[str, ...]]:
    """Returns the variants of each query, by its id: without stop words, and of the remaining words the half that the
    fewest texts of the collection contain. A variant that has no words, or those of another phrasing, is left out.
    """
    texts = [f"{each.title} {each.text}" for each in dataset.passages] + list(dataset.queries.values())
    frequency = Counter(word for text in texts for word in {folded(word) for word in _words(text)})
    return {query_id: _variants(text, frequency) for query_id, text in dataset.queries.items()}


def _variants(query: str, frequency: Mapping[str, int]) -> tuple[str, ...]:
    every = _words(query)
    content = [word for word in every if folded(word) not in STOP_WORDS]
    rare_first = sorted(range(len(content)), key=lambda place: frequency[folded(content[place])])
    keywords = [content[place] for place in sorted(rare_first[: (len(content) + 1) // 2])]
    phrasings = dict.fromkeys(" ".join(words) for words in (every, content, keywords))
    return tuple(phrasing for phrasing in list(phrasings)[1:] if phrasing)


def _words(text: str) -> list[str]:
    return [word for word in rjieba.cut(text) if any(character.isalnum() for character in word)]
