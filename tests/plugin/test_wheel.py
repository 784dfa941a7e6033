"""The wheel alone, in an environment of its own, doing what its README says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from langchain_tandem import TandemClient

PLUGIN = Path(__file__).parents[2] / "retrieval" / "langchain-plugin"
CHECKS = """
import asyncio, sys, langchain_tandem
assert "llama_index" not in sys.modules
assert langchain_tandem.__file__.startswith(sys.prefix), langchain_tandem.__file__
assert "[kiln] The kiln is held at 1280 degrees" in (context | prompt).invoke("How hot is the kiln?").to_string()
assert asyncio.run(chain.ainvoke("How hot is the kiln?")) == "At 1280 degrees."
assert chain.batch(["kiln", "glaze"]) == ["At 1280 degrees."] * 2
try:
    langchain_tandem.TandemLlamaIndexRetriever
except ImportError as error:
    print(error)
"""


def done(*command: object, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        [str(each) for each in command], env={**kept, **environment}, capture_output=True, text=True, timeout=240
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the wheel and what it asks for, from where pip gets its packages on this machine."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=PLUGIN, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    done(sys.executable, "-m", "uv", "venv", "--python", sys.executable, folder / "venv")
    made = folder / "venv" / "bin" / "python"
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    indexes = {"UV_DEFAULT_INDEX": index} if index else {}
    done(sys.executable, "-m", "uv", "pip", "install", "--python", made, wheel, **indexes)
    return made


@pytest.fixture
def docs(node: TandemClient) -> Iterator[None]:
    """The collection that every node has, emptied afterwards."""
    yield
    for document in list(node.documents()):
        node.delete_document(document["id"])


def test_the_readme_runs_with_the_wheel_alone(python: Path, docs: None, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (PLUGIN / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    program = tmp_path / "program.py"
    program.write_text("".join([blocks[0], CHECKS, blocks[1]]), encoding="utf-8")
    answer, missing, *hits = done(python, program).splitlines()
    assert answer == "At 1280 degrees."
    assert missing == "LlamaIndex is not installed: pip install llama-index-core"
    assert hits[0].endswith("The wheel turns at 180 revolutions a minute.")
    done(sys.executable, "-m", "uv", "pip", "check", "--python", python)
