"""Texts and files of the page."""

import re
from hashlib import sha256
from typing import get_args

from app import ROOT
from app.ui.assets import STATIC
from app.ui.keys import LIMITS
from app.ui.language import chinese
from app.ui.movement import REASONS
from app.wiring.plan_table import ROWS
from ingestion.types import DocumentState, JobState, ReceiptStatus

TEMPLATES = ROOT / "app" / "ui" / "templates"
TEXT = re.compile(r"""\bt\(\s*(?:"([^"]*)"|'([^']*)')\s*\)""")
# Of values that templates translate: what a macro or a list names.
VALUES = {"Search", "Compare", "Documents", "Collections", "Jobs", "Evaluation", "System", "Keys"} | {
    *("dense", "sparse", "fused", "rerank", "blended", "diverse", "embed", "recall", "other", "hybrid"),
    *("filling", "measuring", "flipped", "refused", "failed"),
    *get_args(DocumentState),
    *get_args(JobState),
    *get_args(ReceiptStatus),
    *REASONS.values(),
    *(name for name, _ in ROWS),
    *(name.replace("_", " ") for name in LIMITS),
    "This key may not read texts: it has not the scope search.",
}


def test_every_text_of_the_page_is_there_in_chinese() -> None:
    used = {
        double or single
        for path in TEMPLATES.glob("*.html")
        for double, single in TEXT.findall(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 100
    assert sorted((used | VALUES) - chinese().keys()) == []
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in chinese().values())


def test_no_text_is_kept_that_nothing_shows() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "app" / "ui").rglob("*") if path.suffix in (".html", ".py")
    )
    assert [text for text in chinese() if text not in source and text not in VALUES] == []


def test_what_is_vendored_is_what_was_published() -> None:
    vendored = STATIC / "htmx"
    sums = vendored / "SHA256SUMS"
    listed = dict(reversed(line.split("  ")) for line in sums.read_text().splitlines() if not line.startswith("#"))  # type: ignore[arg-type]
    here = {path.name: sha256(path.read_bytes()).hexdigest() for path in vendored.iterdir() if path != sums}
    assert listed == here
    assert "LICENSE" in here
    assert re.search(r"htmx\.org \d+\.\d+\.\d+ ", sums.read_text())
