"""The Ascend page says what the code does, in both languages."""

import re
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings
from retrieval.engines.vllm.ascend import CACHE_FIXED_IN, GRAPH_SIZES, GRAPH_SIZES_310P, WINDOW_310P
from tests.support.docs.twins import commands

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGES = {name: (DEPLOY / "docs" / name / "ascend.md").read_text(encoding="utf-8") for name in ("en", "zh")}


def test_both_languages_give_the_same_commands() -> None:
    english, chinese = map(commands, PAGES.values())
    assert english == chinese
    assert len(english) > 20


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_a_page_says_what_the_code_does(page: str) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"TANDEM_[A-Z_]+", page)) <= known
    separated = page.replace("、", ", ")
    assert f"| {', '.join(map(str, GRAPH_SIZES))} | {', '.join(map(str, GRAPH_SIZES_310P))} |" in separated
    assert f"[{','.join(map(str, GRAPH_SIZES))}]" in page
    assert f"--max-model-len {WINDOW_310P}" in page
    assert str(CACHE_FIXED_IN) in page
    (pin,) = re.findall(r"^vllm-ascend==(\S+)", (DEPLOY / "requirements" / "ascend.txt").read_text(), re.MULTILINE)
    assert set(re.findall(r"vllm-ascend:v([\d.]+\d)", page)) == {pin}
