"""deploy/docs/en/jupyter.md: its cells run one after the other, and show what the page says."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

from tests.support.nodes.faces import KEY, Face

PAGE = Path(__file__).parents[3] / "deploy" / "docs" / "en" / "jupyter.md"


def run(cells: list[str]) -> list[object]:
    """What each cell shows: the value of its last line, or None. `await` works at the top level, as in a notebook."""
    names: dict[str, object] = {}
    shown = []
    for cell in cells:
        tree = ast.parse(cell)
        if isinstance(tree.body[-1], ast.Expr):
            tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], tree.body[-1].value)
            ast.fix_missing_locations(tree)
        code = compile(tree, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names["_"] = None
        running = eval(code, names)
        if inspect.iscoroutine(running):
            asyncio.run(running)
        shown.append(names["_"])
    return shown


async def test_the_cells_run(face: Face, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TANDEM_URL", face.url)
    monkeypatch.setenv("TANDEM_API_KEY", KEY)
    cells = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    shown = await asyncio.to_thread(run, cells)
    models, progress, _, recent, embedding, results, count = shown
    assert models == {"embed": "fake-embedder", "rerank": "fake-reranker"}
    assert isinstance(progress, dict)
    assert (progress["done"], progress["failed"]) == (2, 0)
    assert "kiln The kiln is held at 1280 degrees for an hour." in capsys.readouterr().out.splitlines()[0]
    assert recent == ["kiln"]
    assert embedding == (6, 384)
    assert [each["index"] for each in results] == [0, 1]  # type: ignore[attr-defined]
    assert count == 4
