"""What a test replaces for its subject does not reach the servers that other tests share in threads of the process."""

import asyncio
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.patching import replace_in

TESTS = Path(__file__).parents[2]
SHARED = "asyncio|time|threading|socket|ssl|httpx|uvicorn"
"""Modules that the shared model servers call all the time."""
FOR_ALL = re.compile(rf'setattr\(\s*(?:"[\w.]*\b(?:{SHARED})\.\w+"|(?:\w+\.)*(?:{SHARED}), *")')


def test_one_module_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = ModuleType("subject")
    subject.asyncio = asyncio  # type: ignore[attr-defined]
    sleep = asyncio.sleep
    replace_in(monkeypatch, subject, "asyncio", sleep=print)
    assert (subject.asyncio.sleep, subject.asyncio.Event) == (print, asyncio.Event)
    assert asyncio.sleep is sleep
    monkeypatch.undo()
    assert subject.asyncio is asyncio


@pytest.mark.parametrize(
    "line", ['setattr("app.x.asyncio.sleep", f)', 'setattr(time, "time", f)', 'setattr(x.httpx, "A")']
)
def test_the_rule_finds(line: str) -> None:
    assert FOR_ALL.search(line)


def test_no_test_replaces_for_the_whole_process_what_servers_in_threads_call() -> None:
    files = [path for path in TESTS.rglob("*.py") if path != Path(__file__)]
    found = [f"{path.relative_to(TESTS)}: {match[0]}" for path in files for match in FOR_ALL.finditer(path.read_text())]
    assert len(files) > 100
    assert not found
