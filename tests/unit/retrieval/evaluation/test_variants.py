"""Variants of queries that are made by rules."""

from retrieval.evaluation.datasets import Dataset, Passage
from retrieval.evaluation.variants import machine_made


def dataset(*queries: str) -> Dataset:
    passages = (Passage("a", "", "The kiln is fired with beech wood."), Passage("b", "", "The kiln cools. 窑炉冷却。"))
    return Dataset("ships", "en", passages, 0, {f"q{number}": text for number, text in enumerate(queries)}, ())


def test_without_stop_words_then_the_rarer_half() -> None:
    made = machine_made(dataset("What is the kiln fired with, beech or Birch?"))
    assert made == {"q0": ("kiln fired beech Birch", "fired Birch")}


def test_of_chinese() -> None:
    assert machine_made(dataset("窑炉为什么要在夜间冷却？"))["q0"][0] == "窑炉 要 夜间 冷却"


def test_what_is_empty_or_repeated_is_left_out() -> None:
    assert machine_made(dataset("What is it?", "kiln", "kiln glaze")) == {"q0": (), "q1": (), "q2": ("glaze",)}
