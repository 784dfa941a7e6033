"""The pages for other products name settings and files that exist."""

import re
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
OTHERS = {"TANDEM_API_KEY"}
"""Read by the command line, not by the node."""


@pytest.mark.parametrize("page", ["dify.md", "mcp.md", "n8n.md"])
def test_settings_and_links_of_a_page_exist(page: str) -> None:
    text = (DEPLOY / page).read_text(encoding="utf-8")
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHERS
    assert set(re.findall(r"TANDEM_[A-Z0-9_]+", text)) <= known
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if not (DEPLOY / link).exists()] == []
    assert f"deploy/{page}" in (DEPLOY.parent / "README.md").read_text(encoding="utf-8")
