"""README.md and README.zh-CN.md say the same."""

import re
from pathlib import Path

from app.settings import PREFIX, Settings
from tests.support.docs.twins import commands, sections

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))


def test_each_links_to_the_other() -> None:
    assert "[中文](README.zh-CN.md)" in ENGLISH[:200]
    assert "[English](README.md)" in CHINESE[:200]


def test_both_give_the_same_commands() -> None:
    assert commands(ENGLISH) == commands(CHINESE)
    assert len(commands(ENGLISH)) > 10


def test_both_have_the_same_sections_tables_and_settings() -> None:
    pairs = list(zip(sections(ENGLISH), sections(CHINESE), strict=True))
    assert [(one.level, one.rows) for one, _ in pairs] == [(other.level, other.rows) for _, other in pairs]
    names = [sorted(re.findall(r"TANDEM_[A-Z0-9_]+", text)) for text in (ENGLISH, CHINESE)]
    assert names[0] == names[1]


def test_both_lead_to_the_same_pages_in_their_own_language() -> None:
    def pages(text: str, language: str) -> list[str]:
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]
        return [link.replace(f"docs/{language}/", "docs/").replace(".zh-CN.md", ".md") for link in links]

    assert pages(ENGLISH, "en") == pages(CHINESE, "zh")


def test_the_index_lists_every_page() -> None:
    pages = {f"deploy/docs/en/{path.name}" for path in (ROOT / "deploy" / "docs" / "en").glob("*.md")}
    index = ENGLISH.partition("## Documentation")[2].partition("## Development")[0]
    assert set(re.findall(r"\]\(([^)]+)\)", index)) == pages


def test_the_readme_is_short() -> None:
    assert len(ENGLISH.split()) <= 1100
    assert len(ENGLISH.splitlines()) <= 200
    settings = re.findall(r"^\| `(TANDEM_[A-Z_]+)` \|", ENGLISH, re.MULTILINE)
    assert {name.removeprefix(PREFIX).lower() for name in settings} - {"models"} <= set(Settings.model_fields)
