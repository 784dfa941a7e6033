"""One run: its options, what was found so far, and the files that hold it."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from rich.console import Console

from app.cli.bench.node import describe_machine

console = Console(stderr=True, width=160)


class BudgetSpent(BaseException):
    """Ends the whole run. No Exception: an HTTP client would report it as a node's timeout, and the run would go on."""


@dataclass(slots=True)
class Run:
    """The options, and what was found so far."""

    asked: argparse.Namespace
    started: float = field(default_factory=monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        return float(self.asked.budget) - (monotonic() - self.started)

    def write(self) -> None:
        record = {
            "command": " ".join(sys.argv),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "parts": self.found,
        }
        (self.asked.out / "results.json").write_text(json.dumps(record, indent=1))
        machine = record["machine"]
        head = [f"`{record['command']}`, {record['at']}", "", json.dumps(machine), ""]
        (self.asked.out / "results.md").write_text("\n".join([*head, *self.lines]) + "\n")

    def part(self, name: str, seconds: float, measure: Callable[[], Any]) -> None:
        """Measures and keeps it, if about `seconds` are left; whatever goes wrong with it is kept instead."""
        if self.left < seconds:
            self.found[name] = {"skipped": f"{self.left:.0f} s left, about {seconds:.0f} needed"}
            console.print(f"{name}: skipped", markup=False)
        else:
            began = monotonic()
            console.print(f"{name}: begins, {self.left:.0f} s left", markup=False)
            try:
                self.found[name] = measure()
            except Exception as error:  # noqa: BLE001  # the other parts are still worth measuring
                self.found[name] = {"failed": f"{type(error).__name__}: {error}"[:2000]}
                console.print(f"{name}: {self.found[name]}", markup=False)
                self.lines += ["", f"**{name} failed:** {type(error).__name__}: {str(error)[:300]}"]
            console.print(f"{name}: {monotonic() - began:.0f} s", markup=False)
        self.write()

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.lines += ["", f"### {title}", "", row_of(columns), row_of(["---"] * len(columns))]
        self.lines += [row_of(row) for row in rows]
        console.print("\n".join(self.lines[-len(rows) - 4 :]), markup=False)


def row_of(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"
