"""The measurements of several devices: what an audit after a fault says is lost, and that the program starts."""

import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from deploy.benchmarks.several_gpus.faults import fate, loss

ROOT = Path(__file__).parents[3]


def report(documents: int, *, finding: str | None = None, note: str | None = None) -> dict[str, Any]:
    findings = [{"kind": finding, "count": 2}] if finding else []
    notes = [{"kind": note, "count": 3}] if note else []
    return {"documents": documents, "findings": findings, "notes": notes}


@pytest.mark.parametrize(
    ("audited", "lost"),
    [
        (report(10), None),
        (report(12), None),
        (report(9), "10 documents were reported ingested, and the catalog has 9"),
        (report(10, finding="documents_outdated"), "2 documents_outdated"),
        (report(10, note="documents_moving"), "3 documents_moving"),
    ],
)
def test_loss(audited: dict[str, Any], lost: str | None) -> None:
    assert loss(audited, 10, {}) == lost


def test_documents_that_did_not_become_ready_are_lost() -> None:
    assert loss(report(10), 10, {"failed": 2}) == "2 documents failed"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"state": "ready", "error": None}, "ready"),
        ({"state": "failed", "error": {"code": "cancelled"}}, "cancelled"),
        ({"state": "failed", "error": {"code": "attempts_exhausted"}}, "failed"),
    ],
)
def test_a_cancelled_document_is_not_lost(document: dict[str, Any], expected: str) -> None:
    assert fate(document) == expected


def test_the_folder_is_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    program = run_path(str(ROOT / "deploy" / "benchmarks" / "several_gpus"), run_name="several_gpus")
    monkeypatch.setattr(sys, "argv", ["several_gpus", "--out", "nowhere", "--parts", "nothing"])
    parts = "engines, load, shares, mixed, search, faults, split"
    with pytest.raises(SystemExit, match=f"--parts: nothing is not one of {parts}"):
        program["main"]()
