"""What commands show while they work."""

import sys
from io import StringIO
from itertools import count, pairwise

import pytest
from rich.console import Console

from app.cli import console as terminal


def test_counted_tells_where_it_is_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=StringIO(), width=80)
    assert list(terminal.counted("abc", "[Letters]", console)) == ["a", "b", "c"]
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
    monkeypatch.setattr(terminal, "monotonic", count(step=6).__next__)
    assert list(terminal.counted("abc", "[Letters]", console)) == ["a", "b", "c"]
    assert "[Letters]: 2 of 3\n" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_long_work_is_told_of_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=StringIO(), width=80)
    monkeypatch.setattr(terminal, "monotonic", count().__next__)
    log = terminal.ProgressLog(console)
    for second in range(1, 1001):
        log.report(str(second))
    told = [int(line) for line in console.file.getvalue().split()]  # type: ignore[attr-defined]
    assert told[:4] == [6, 12, 18, 24]
    assert min(later - earlier for earlier, later in pairwise(told[-3:])) > 80
    assert len(told) < 40


def test_a_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for without in (False, True):
        file = StringIO()
        file.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys, "stdout", file)
        if without:
            monkeypatch.setenv("NO_COLOR", "1")
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        terminal.results().print("[red]done[/red]")
        shown[without] = file.getvalue()
    assert shown == {False: "\x1b[31mdone\x1b[0m\n", True: "done\n"}


@pytest.mark.parametrize("terminal_kind", ["dumb", "none"])
def test_bars_and_spinners_write_no_control_sequences_where_they_cannot_be_drawn(
    monkeypatch: pytest.MonkeyPatch, terminal_kind: str
) -> None:
    file = StringIO()
    if terminal_kind == "dumb":
        file.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setenv("TERM", "dumb")
    else:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", file)
    console = terminal.messages()
    with console.status("Looking"), terminal.bar(console) as bar:
        bar.update(bar.add_task("[red]Sending", total=2), advance=1)
    list(terminal.counted("abc", "Letters", console))
    console.print("[bold red]done[/]")
    assert not set("\r\x1b") & set(file.getvalue())
    assert "done\n" in file.getvalue()
