"""What stands in the pages of deploy/docs/en: tests use it as it is there, so that page and code say the same."""

import json
import re
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[3] / "deploy" / "docs" / "en"


def json_blocks(page: str) -> list[Any]:
    """The ```json blocks of a page, in their order."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)]


def table(page: str, first_header: str) -> list[list[str]]:
    """The rows of the table whose first column is called so, without its header."""
    text = (PAGES / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(first_header)} \|.*\n\|[ |:-]*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"{page} has no table {first_header!r}"
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[1].splitlines()]
