"""tandem audit: what is printed, and the status it ends with."""

import json
from typing import get_args

import pytest
from typer.testing import CliRunner

from app.cli import main as cli
from app.cli.client.audit import FINDINGS, NOTES
from app.cli.client.node_client import Client
from ingestion.audit.report import FindingKind, NoteKind

REPORT = {
    "clean": False,
    "repair": False,
    "started_at": "2026-01-01T00:00:00Z",
    "seconds": 1.5,
    "collections": 1,
    "documents": 1200,
    "chunks": 3400,
    "blobs": 1100,
    "findings": [
        {"kind": kind, "collection": "docs", "count": 7, "repaired": 0, "examples": ["[red]a[/red]", *"bcdefg"]}
        for kind in FINDINGS
    ],
    "notes": [{"kind": kind, "collection": "docs", "count": 3, "examples": ["x"]} for kind in NOTES],
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the node was asked; set `asked["report"]` for its answer."""
    asked: dict[str, object] = {"report": REPORT}

    def audit(_: Client, collection: str | None = None, *, repair: bool = False) -> object:
        asked.update(collection=collection, repair=repair)
        return asked["report"]

    monkeypatch.setattr(Client, "audit", audit)
    return asked


def test_findings_are_told_and_end_with_status_1(asked: dict[str, object]) -> None:
    result = CliRunner().invoke(cli.app, ["audit"])
    assert result.exit_code == 1
    assert (asked["collection"], asked["repair"]) == (None, False)
    words = " ".join(result.output.split())
    assert "[red]a[/red], b, c, d, e, …" in words
    assert "Findings are left; `tandem audit --repair` repairs what can be repaired" in words
    assert "1,200 documents, 3,400 chunks and 1,100 originals in 1.5 s." in words
    assert words.count("docs") == len(FINDINGS) + len(NOTES)


def test_repaired_findings_are_told_and_end_with_status_0(asked: dict[str, object]) -> None:
    findings = [finding | {"repaired": 7} for finding in REPORT["findings"]]  # type: ignore[attr-defined]
    asked["report"] = REPORT | {"clean": True, "findings": findings, "notes": []}
    result = CliRunner().invoke(cli.app, ["audit", "--repair", "--collection", "docs"])
    assert result.exit_code == 0
    assert (asked["collection"], asked["repair"]) == ("docs", True)
    assert "Clean: 1,200 documents" in " ".join(result.output.split())


def test_json_is_the_whole_report(asked: dict[str, object]) -> None:
    result = CliRunner().invoke(cli.app, ["audit", "--json"])
    assert json.loads(result.output) == REPORT
    assert result.exit_code == 1


def test_every_kind_has_its_words() -> None:
    assert set(FINDINGS) == set(get_args(FindingKind))
    assert set(NOTES) == set(get_args(NoteKind))
