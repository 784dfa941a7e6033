from math import log2

import pytest
from ir_measures.util import Qrel

from retrieval.evaluation.metrics import means, measure, measure_queries

QRELS = (Qrel("q1", "d1", 1), Qrel("q2", "d2", 1))


def test_measures_by_hand() -> None:
    values = measure_queries(QRELS, {"q1": ["d1", "d3"], "q2": ["d5", "d2"]})
    assert values["q1"] == dict.fromkeys(("nDCG@10", "Recall@10", "Recall@100", "MRR@10"), 1.0)
    assert values["q2"] == pytest.approx({"nDCG@10": 1 / log2(3), "Recall@10": 1, "Recall@100": 1, "MRR@10": 0.5})
    assert means(values)["MRR@10"] == pytest.approx(0.75)


def test_a_grade_is_so_much_gain() -> None:
    qrels = (Qrel("q", "best", 3), Qrel("q", "good", 1), Qrel("q", "bad", 0))
    values = measure_queries(qrels, {"q": ["bad", "good", "best"]})["q"]
    assert values["nDCG@10"] == pytest.approx((1 / log2(3) + 3 / log2(4)) / (3 + 1 / log2(3)))
    assert values["MRR@10"] == 0.5


def test_a_query_without_an_answer_counts_as_nought() -> None:
    assert means(measure_queries(QRELS, {"q1": ["d1"]}))["nDCG@10"] == pytest.approx(0.5)
    assert measure({"q1": ["d1"], "q2": ["d2"]}, {"q1": ["d1"]})["nDCG@10"] == pytest.approx(0.5)


def test_the_order_given_is_the_order_measured() -> None:
    ranking = [f"d{n}" for n in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1)]
    values = means(measure_queries(QRELS, {"q1": ranking, "q2": ["d2"]}))
    assert (values["Recall@10"], values["Recall@100"]) == pytest.approx((0.5, 1))
