"""README.md and README.zh-CN.md say the same."""

from pathlib import Path

from tests.support.twins import Section, commands, sections

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))


def test_each_links_to_the_other() -> None:
    assert "[中文](README.zh-CN.md)" in ENGLISH[:200]
    assert "[English](README.md)" in CHINESE[:200]


def test_both_give_the_same_commands() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert len(commands(ENGLISH)) > 50


def test_both_have_the_same_sections_tables_figures_and_settings() -> None:
    pairs = list(zip(sections(ENGLISH), sections(CHINESE), strict=True))
    assert len(pairs) > 10
    for english, chinese in pairs:
        assert _differences(english, chinese) == []


def _differences(english: Section, chinese: Section) -> list[object]:
    found: list[object] = [
        more
        for ours, theirs in ((english, chinese), (chinese, english))
        for more in ((ours.numbers - theirs.numbers), (ours.code - theirs.code))
        if more
    ]
    return found + [
        pair for pair in ((english.level, chinese.level), (english.rows, chinese.rows)) if len(set(pair)) > 1
    ]
