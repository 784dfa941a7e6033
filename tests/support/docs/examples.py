"""The examples of the documentation: fenced blocks, the commands in them, and how they are run against a node."""

import ast
import asyncio
import inspect
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import httpx
from typer.testing import CliRunner

from app.cli import main as cli

ROOT = Path(__file__).parents[3]
ABOUT_KEYS = ("keys", "audit-log")
PAGES = (
    Path("README.md"),
    Path("retrieval/langchain-plugin/README.md"),
    # Those in Chinese have the same commands, which another test compares.
    *sorted(path.relative_to(ROOT) for path in (ROOT / "deploy" / "docs" / "en").glob("*.md")),
)


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"

    def commands(self) -> list[str]:
        """One for each line, but for lines that go on in the next one: behind a backslash, and within quotes."""
        found: list[str] = []
        open_line = ""
        for line in self.text.splitlines():
            open_line += line + "\n"
            if line.endswith("\\") or _unfinished(open_line):
                continue
            if open_line.strip():
                found.append(open_line.strip())
            open_line = ""
        return [*found, open_line.strip()] if open_line.strip() else found


def read_blocks(page: Path) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^ *```(\S*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [Block(page, language, dedent(block)) for language, block in found if block.strip()]


class Examples:
    """Runs them; in the working folder, with `names` put in place of what stands for something else in the text.

    Commands about keys run in the environment `keyed`: they need a node that has keys.
    """

    def __init__(self, url: str, keyed: Mapping[str, str], names: Mapping[str, str]) -> None:
        self._url = url
        self._keyed = keyed
        self._names = names
        self._cells: dict[Path, dict[str, object]] = {}

    def command(self, text: str) -> str:
        """What it printed. Raises AssertionError where it failed."""
        for name, value in self._names.items():
            text = re.sub(rf"\b{name}\b", value, text)
        text, _, given = text.partition(" < ")
        words = [str(Path(word).expanduser()) if word[0] == "~" else word for word in shlex.split(text, comments=True)]
        program = Path(words[0]).name
        if program == "tandem":
            return self._tandem(words[1:], Path(given.split("#")[0].strip()) if given else None)
        assert program == "curl", text
        return self._curl(words[1:])

    def python(self, block: Block) -> None:
        """As a cell of a notebook, after those that stand before it on its page."""
        names = self._cells.setdefault(block.page, {"__name__": "__main__"})
        code = compile(self._here(block.text), str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        run: Callable[[], object] = eval(code, names)  # type: ignore[assignment]
        if inspect.isawaitable(run):
            asyncio.run(_awaited(run))

    def _tandem(self, arguments: list[str], stdin: Path | None) -> str:
        given = stdin.read_bytes() if stdin else b""
        environment = self._keyed if arguments[0] in ABOUT_KEYS else {"TANDEM_URL": self._url}
        result = CliRunner().invoke(cli.app, arguments, prog_name="tandem", input=given, env=environment)
        assert result.exit_code == 0, (arguments, result.output)
        return result.stdout

    def _curl(self, arguments: list[str]) -> str:
        method, headers, body, url = "", {}, None, ""
        parts: list[tuple[str, tuple[str | None, bytes]]] = []
        words = iter(arguments)
        for word in words:
            if word in ("-s", "-sN", "-N"):
                continue
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            elif word == "-d":
                body = next(words)
            elif word == "-F":
                name, _, value = next(words).partition("=")
                file = Path(value[1:]) if value.startswith("@") else None
                parts.append((name, (file.name, file.read_bytes()) if file else (None, value.encode())))
            else:
                assert not word.startswith("-"), f"curl {word}: not known to this test"
                url = self._here(word)
        method = method or ("POST" if body or parts else "GET")
        answer = httpx.request(method, url, headers=headers, content=body, files=parts or None, timeout=60)
        assert answer.is_success, (arguments, answer.status_code, answer.text)
        return answer.text

    def _here(self, text: str) -> str:
        """With this node's address in place of the usual one."""
        return re.sub(r"(http://)?(localhost|127\.0\.0\.1):8080", self._url, text)


def _unfinished(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


async def _awaited(run: object) -> None:
    await run  # type: ignore[misc]
