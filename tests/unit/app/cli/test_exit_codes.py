"""How the command ends: statuses, and errors as JSON."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli import main as cli
from app.cli.client.node_client import START_HINT, Client
from app.cli.exit_codes import Exit, exit_status
from langchain_tandem.client import NodeUnreachable, Refused, TandemClientError
from retrieval.errors import ConfigurationError, EngineFailed, InvalidRequest, ModelUnavailable, TandemError

PAGE = Path(__file__).parents[4] / "deploy" / "docs" / "en" / "command-line.md"


def refused(status: int, code: str = "overloaded") -> Refused:
    return Refused(f"No. ({code})", code=code, status=status, retry_after=1)


def search(monkeypatch: pytest.MonkeyPatch, error: BaseException, *more: str) -> Result:
    def ask(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Client, "search", ask)
    return CliRunner().invoke(cli.app, ["search", "x", *more], prog_name="tandem")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("x"), 2),
        (NodeUnreachable("x"), 3),
        *((refused(status), 4) for status in (400, 401, 404, 409, 413, 415, 422)),
        *((refused(status), 5) for status in (429, 500, 502, 503)),
        (ConfigurationError("x"), 6),
        (ModelUnavailable("x"), 6),
        (EngineFailed("x"), 1),
    ],
)
def test_every_kind_of_error_has_its_status(
    monkeypatch: pytest.MonkeyPatch, error: TandemError | TandemClientError, status: int
) -> None:
    assert exit_status(error) == status
    result = search(monkeypatch, error)
    hint = f" {START_HINT}" if isinstance(error, NodeUnreachable) else ""
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"tandem: {error.message}{hint}\n")


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, KeyboardInterrupt()).exit_code == Exit.INTERRUPTED


def test_with_json_an_error_is_the_object_on_stdout_and_the_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    result = search(monkeypatch, refused(429), "--json")
    assert result.exit_code == 5
    error = {"code": "overloaded", "message": "No. (overloaded)", "detail": {"status": 429, "retry_after": 1}}
    assert json.loads(result.stdout) == {"error": error}
    assert result.stderr == "tandem: No. (overloaded)\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--json"], "Missing argument"),
        (["search", "x", "--json", "--top-k", "ten"], "integer"),
        (["search", "x", "--nothing", "--json"], "No such option"),
        (["search", "x", "--json", "--filter", "year=1"], "not JSON"),
        (["ingest", "nowhere", "--json"], "no such file"),
        (["ingest", "-", "README.md", "--json"], "cannot be combined with files"),
        (["ingest", "README.md", "--name", "x", "--json"], "--name"),
        (["ingest", "README.md", "--delete", "--json"], "--watch"),
        (["ingest", "-", "--watch", "--json"], "wants folders"),
        (["ingest", "nowhere.jsonl", "--jsonl", "--json"], "No such file"),
        (["collections", "delete", "docs", "--json"], "--yes"),
        (["collections", "create", "docs", "--metadata-key", "year", "--json"], "--metadata-key"),
    ],
)
def test_wrong_usage_is_status_2_in_both_ways(arguments: list[str], words: str) -> None:
    told = CliRunner().invoke(cli.app, arguments, prog_name="tandem")
    assert (told.exit_code, words in json.loads(told.stdout)["error"]["message"]) == (2, True)
    plain = CliRunner().invoke(cli.app, [each for each in arguments if each != "--json"], prog_name="tandem")
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert plain.stderr


def test_a_file_of_figures_is_no_stdout() -> None:
    missing = ["eval", "nowhere", "--queries", "x", "--compare", "nowhere.json", "--json"]
    assert CliRunner().invoke(cli.app, [*missing, "f.json"]).stdout == ""
    result = CliRunner().invoke(cli.app, [*missing, "-"])
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "invalid_request")


def test_help_and_the_page_have_the_table() -> None:
    shown = " ".join(CliRunner().invoke(cli.app, ["--help"], terminal_width=400).output.split())
    page = PAGE.read_text(encoding="utf-8")
    for each in Exit:
        assert f"{each.value} {each.meaning}" in shown
        assert f"| {each.value} | {each.meaning} |" in page
