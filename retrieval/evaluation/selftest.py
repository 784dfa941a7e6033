"""Checks both models with golden pairs at start, before any search depends on them.

It detects faults that were seen in practice: a reranker without its template (near random scores), one that returns 0.5
for every passage, repeated texts with wrong results from a prefix cache, half precision that overflows to NaN, a model
of another dimension than configured. It uses only the ports, so every engine is checked in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from time import perf_counter

import numpy as np

from retrieval.errors import EngineFailed
from retrieval.pace import Pace
from retrieval.ports import Embedder, Reranker
from retrieval.types import Lane, SelfTestCheck, SelfTestReport, TextKind, Vectors

NORM_TOLERANCE = 1e-3
"""Distance of a length from 1: float32 leaves 1e-6, a vector normalised in bfloat16 up to 4e-3 before it is renewed."""
REPEAT_COSINE = 0.9999
"""The same input alone, twice: same shapes, same kernels; only the order of float additions may differ."""
REPEAT_SCORE = 0.005
"""The counterpart of REPEAT_COSINE for scores. bfloat16 logits vary by about 0.01, and a probability by at most a
quarter of that.
"""
BATCH_COSINE = 0.999
"""Alone against in a batch, cold against cached: other shapes pick other kernels, which round bfloat16 differently.
A broken prefix cache gives 0.6, a mixed-up batch less."""
BATCH_SCORE = 0.02
"""The counterpart of BATCH_COSINE for probabilities."""
DISTINCT_COSINE = 0.9999
"""Unrelated texts must stay below it, or the model does not look at its input."""
DISTINCT_SCORE = 1e-5
"""Scores of unlike passages must differ by more, or the model does not look at its input."""
EMBED_MARGIN = 0.1
"""Cosine of the relevant pair above the irrelevant one. Working models reach 0.3 and more on these pairs."""
RERANK_MARGIN = 0.05
"""Score of the relevant pair above the irrelevant one. A cross-encoder reaches 0.9, late interaction 0.1 and more."""
PREFIX_TOKENS = 300
"""Shared prefix: more than two blocks of any engine's prefix cache (16 tokens on CUDA, 128 on Ascend and CPU)."""


@dataclass(frozen=True, slots=True)
class GoldenPair:
    language: str
    query: str
    relevant: str
    irrelevant: str


# The irrelevant passages share a word or the subject with their query, so that an order by length or by chance fails.
GOLDEN_PAIRS = (
    GoldenPair(
        "en",
        "How do bees make honey?",
        "Bees make honey out of nectar: they fan it with their wings until most of its water is gone.",
        "The harbour was rebuilt after the storm, and the ferry now makes the crossing twice a day.",
    ),
    GoldenPair(
        "en",
        "What is the capital of Norway?",
        "Oslo, the largest city of Norway, has been its capital since the union with Denmark ended.",
        "Start-ups often raise capital from their founders' families before a bank will lend to them.",
    ),
    GoldenPair(
        "en",
        "Why does bread rise?",
        "Yeast makes bread rise: it turns sugar in the dough into carbon dioxide, which does not escape.",
        "Rents rise fastest where few flats are built, and most of all near the university.",
    ),
    GoldenPair(
        "zh",
        "蜜蜂怎样酿造蜂蜜？",
        "工蜂采集花蜜，在口中反复传递，再用翅膀扇风使水分蒸发，花蜜便逐渐浓缩成蜂蜜。",
        "风暴过后港口重新修建，渡轮现在每天往返两次。",
    ),
    GoldenPair(
        "zh",
        "挪威的首都是哪里？",
        "奥斯陆位于峡湾尽头，是挪威政府所在地，也是该国最大的城市。",
        "首都机场今年新开了三条货运航线，主要运送鲜花和海产品。",
    ),
    GoldenPair(
        "zh",
        "面包为什么会发起来？",
        "酵母分解面团中的糖分并放出二氧化碳，气泡使面团膨胀，烤出来的面包松软多孔。",
        "大学附近新建的住房很少，所以那里的房租涨得最快。",
    ),
)


async def run_selftest(
    embedder: Embedder,
    reranker: Reranker,
    *,
    check_margin: bool,
    margin_scale: float = 1.0,
    check_distinct: bool = True,
    languages: Sequence[str],
    embed_pace: Pace | None = None,
) -> SelfTestReport:
    """Runs every check of both models. Both must be started.

    `languages` are the codes of those the models know; pairs exist for `en` and `zh`, and a model of neither is checked
    with the English ones. `check_margin` is False for models whose ranking means nothing (random weights),
    `check_distinct` for models whose output hardly depends on the input (dummy weights, next to nothing).
    `margin_scale` is that of the models' profile. `embed_pace` measures the embedder's calls.

    Wrong results of a model make a failed check, EngineFailed included; Unavailable (EngineDead) propagates.
    """
    started = perf_counter()
    spoken = {pair.language for pair in GOLDEN_PAIRS}.intersection(languages) or {"en"}
    pairs = [pair for pair in GOLDEN_PAIRS if pair.language in spoken]
    checks: list[SelfTestCheck] = []
    try:
        await _check_embedder(
            checks,
            embedder,
            embed_pace or Pace(),
            pairs,
            check_margin=check_margin,
            margin_scale=margin_scale,
            check_distinct=check_distinct,
        )
    except EngineFailed as error:
        checks.append(SelfTestCheck("embed.answers", False, error.message))
    try:
        long_texts = _long_texts(embedder)
        await _check_reranker(
            checks,
            reranker,
            pairs,
            long_texts,
            check_margin=check_margin,
            margin_scale=margin_scale,
            check_distinct=check_distinct,
        )
    except EngineFailed as error:
        checks.append(SelfTestCheck("rerank.answers", False, error.message))
    return SelfTestReport(tuple(checks), (perf_counter() - started) * 1000)


async def _check_embedder(
    checks: list[SelfTestCheck],
    embedder: Embedder,
    pace: Pace,
    pairs: Sequence[GoldenPair],
    *,
    check_margin: bool,
    margin_scale: float = 1.0,
    check_distinct: bool,
) -> None:
    async def embed(kind: TextKind, *texts: str) -> Vectors:
        # As in operation: queries and documents may have separate engines.
        lane = Lane.INTERACTIVE if kind == "query" else Lane.BULK
        with pace.measuring() as call:
            found = await embedder.embed(texts, kind=kind, lane=lane)
            call.tokens = sum(found.tokens)
        return found.vectors

    texts: dict[TextKind, list[str]] = {
        "query": [pair.query for pair in pairs],
        "document": [text for pair in pairs for text in (pair.relevant, pair.irrelevant)],
    }
    batch = {kind: await embed(kind, *texts[kind]) for kind in texts}
    shapes = {kind: (len(texts[kind]), embedder.fingerprint.dimension) for kind in texts}
    measured = ", ".join(f"{batch[kind].shape} for {shapes[kind]}" for kind in texts)
    sound = all(batch[kind].shape == shapes[kind] for kind in texts)
    checks.append(SelfTestCheck("embed.dimension", sound, f"shapes {measured}"))
    if not sound:
        return  # the numbers below would be meaningless
    components = np.concatenate([batch[kind].ravel() for kind in texts])
    spoilt = int(np.count_nonzero(~np.isfinite(components)))
    checks.append(SelfTestCheck("embed.finite", spoilt == 0, f"{spoilt} components are not finite, 0 allowed"))
    norms = np.concatenate([np.linalg.norm(batch[kind], axis=1) for kind in texts])
    checks.append(_at_most("embed.unit_norm", "distance from length 1", np.abs(norms - 1).max(), NORM_TOLERANCE))

    repeated: list[float] = []
    alone: list[float] = []
    prefixed: list[float] = []
    for kind in texts:
        first, again = await embed(kind, texts[kind][0]), await embed(kind, texts[kind][0])
        last = await embed(kind, texts[kind][-1])
        repeated.append(_cosine(first, again))
        alone += [_cosine(first, batch[kind][:1]), _cosine(last, batch[kind][-1:])]
        one, other = _long_texts(embedder)
        cold, half_cold = await embed(kind, one), await embed(kind, other)
        prefixed.append(_cosine(np.concatenate([cold, half_cold]), await embed(kind, one, other)))
    checks.append(_at_least("embed.deterministic", "cosine of a repetition", np.min(repeated), REPEAT_COSINE))
    checks.append(_at_least("embed.batch", "cosine alone against in a batch", np.min(alone), BATCH_COSINE))
    checks.append(_at_least("embed.shared_prefix", "cosine cold against cached", np.min(prefixed), BATCH_COSINE))
    if check_distinct:
        nearest = max(_cosine(batch[kind][i : i + 1], batch[kind][i + 1 : i + 2]) for kind in texts for i in range(2))
        checks.append(_at_most("embed.distinct", "cosine of unrelated texts", nearest, DISTINCT_COSINE))
    if check_margin:
        for language in dict.fromkeys(pair.language for pair in pairs):
            rows = [row for row, pair in enumerate(pairs) if pair.language == language]
            margins = [
                _cosine(batch["query"][row : row + 1], batch["document"][2 * row : 2 * row + 1])
                - _cosine(batch["query"][row : row + 1], batch["document"][2 * row + 1 : 2 * row + 2])
                for row in rows
            ]
            checks.append(
                _at_least(
                    f"embed.margin.{language}",
                    "relevant above irrelevant",
                    np.min(margins),
                    margin_scale * EMBED_MARGIN,
                )
            )


async def _check_reranker(
    checks: list[SelfTestCheck],
    reranker: Reranker,
    pairs: Sequence[GoldenPair],
    long_texts: tuple[str, str],
    *,
    check_margin: bool,
    margin_scale: float = 1.0,
    check_distinct: bool,
) -> None:
    async def score(query: str, *passages: str) -> tuple[float, ...]:
        scores = (await reranker.rerank(query, passages, lane=Lane.INTERACTIVE)).scores
        if len(scores) != len(passages):
            raise EngineFailed(f"The reranker gave {len(scores)} scores for {len(passages)} passages.")
        return scores

    batch = [await score(pair.query, pair.relevant, pair.irrelevant) for pair in pairs]
    outside = [value for scores in batch for value in scores if not 0 <= value <= 1]  # NaN is outside, too
    checks.append(SelfTestCheck("rerank.range", not outside, f"{len(outside)} scores outside [0, 1]: {outside[:3]}"))

    query, passage = pairs[0].query, pairs[0].relevant
    (first,), (again,) = await score(query, passage), await score(query, passage)
    checks.append(_at_most("rerank.deterministic", "difference of a repetition", abs(first - again), REPEAT_SCORE))
    (other,) = await score(query, pairs[0].irrelevant)
    alone = np.abs(np.array([first, other]) - np.array(batch[0])).max()
    checks.append(_at_most("rerank.batch", "difference alone against in a batch", alone, BATCH_SCORE))
    one, two = long_texts
    cold = await score(query, one) + await score(query, two)
    cached = np.abs(np.array(cold) - np.array(await score(query, one, two))).max()
    checks.append(_at_most("rerank.shared_prefix", "difference cold against cached", cached, BATCH_SCORE))
    if check_distinct:
        checks.append(_at_least("rerank.distinct", "spread of all scores", np.ptp(np.array(batch)), DISTINCT_SCORE))
    if check_margin:
        for language in dict.fromkeys(pair.language for pair in pairs):
            margins = [
                relevant - irrelevant
                for pair, (relevant, irrelevant) in zip(pairs, batch, strict=True)
                if pair.language == language
            ]
            checks.append(
                _at_least(
                    f"rerank.margin.{language}",
                    "relevant above irrelevant",
                    np.min(margins),
                    margin_scale * RERANK_MARGIN,
                )
            )


def _long_texts(embedder: Embedder) -> tuple[str, str]:
    """Returns two texts with the same long beginning and different ends. The beginning is new each time, so no cache
    holds it.
    """
    sentence = "The keeper wrote down the weather, the ships that passed and the oil that the lamp had burnt. "
    length = len(embedder.tokenizer.encode(sentence, add_special_tokens=False).ids)
    room = min(PREFIX_TOKENS, embedder.max_tokens * 3 // 4)
    prefix = f"{token_hex(4)} " + sentence * max(1, room // length)
    return prefix + "Then the fog came in.", prefix + "Bread was baked on Fridays."


def _cosine(left: Vectors, right: Vectors) -> float:
    """Returns the lowest cosine over the rows of two matrices of one shape; NaN if it is undefined."""
    if left.shape != right.shape:
        return float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        return float(((left * right).sum(axis=1) / lengths).min())


def _at_least(name: str, what: str, measured: float, bound: float) -> SelfTestCheck:
    # NaN compares false, so it fails here and below.
    return SelfTestCheck(name, bool(measured >= bound), f"{what} {measured:.6g}, at least {bound:g}")


def _at_most(name: str, what: str, measured: float, bound: float) -> SelfTestCheck:
    return SelfTestCheck(name, bool(measured <= bound), f"{what} {measured:.6g}, at most {bound:g}")
