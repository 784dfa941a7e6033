"""Writes the blocking client from the asynchronous one: run it after asynchronous.py has changed.

    python retrieval/langchain-plugin/generate_client.py

A test compares the file with what this script writes.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from unasync import Rule, unasync_files

CLIENT = Path(__file__).parent / "src" / "langchain_tandem" / "client"
SOURCE = CLIENT / "asynchronous.py"
TARGET = CLIENT / "blocking.py"
REPLACEMENTS = {
    "AsyncTandemClient": "TandemClient",
    "AsyncClient": "Client",
    "AsyncBaseTransport": "BaseTransport",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "aread": "read",
    "aread_files": "read_files",
    "asyncio": "time",  # the module of `sleep`
}
IN_TEXT = {
    "The client for programs that run in an event loop.": "The client for programs that wait for each answer.",
    "`aclose`": "`close`",
    "in an\n    `async with` block": "in a\n    `with` block",
}
"""Replacements in docstrings."""
HEADER = "# Generated from asynchronous.py by generate_client.py. Change that file and run the script.\n"


def blocking_client() -> str:
    """Returns the text of blocking.py."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "asynchronous" / "client.py", Path(folder) / "blocking" / "client.py"
        source.parent.mkdir()
        source.write_text(SOURCE.read_text(encoding="utf-8"), encoding="utf-8")
        rule = Rule(f"{folder}/asynchronous/", f"{folder}/blocking/", additional_replacements=REPLACEMENTS)
        unasync_files([str(source)], [rule])
        text = target.read_text(encoding="utf-8")
    for old, new in IN_TEXT.items():
        assert old in text, f"asynchronous.py no longer contains {old!r}"
        text = text.replace(old, new)
    return _formatted(HEADER + text)


def _formatted(text: str) -> str:
    for options in (["check", "--select", "I,UP028", "--fix", "--unsafe-fixes", "--quiet"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *options, "--stdin-filename", str(TARGET), "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return text


if __name__ == "__main__":
    TARGET.write_text(blocking_client(), encoding="utf-8")
