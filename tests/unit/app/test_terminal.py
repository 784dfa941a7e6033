"""What commands show while they work."""

from io import StringIO

import pytest
from rich.console import Console

from app.commands import terminal


def test_counted_tells_where_it_is_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=StringIO(), width=80)
    assert list(terminal.counted("abc", "[Letters]", console)) == ["a", "b", "c"]
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
    monkeypatch.setattr(terminal, "LOG_EVERY_SECONDS", -1)
    assert list(terminal.counted("abc", "[Letters]", console)) == ["a", "b", "c"]
    assert "[Letters]: 2 of 3\n" in console.file.getvalue()  # type: ignore[attr-defined]
