"""Exit statuses and error output of the `tandem` command."""

import json
import sys
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.exceptions import TyperException

from app.cli.client.node_client import START_HINT
from langchain_tandem.client import InvalidSetting, NodeUnreachable, Refused, TandemClientError
from retrieval.errors import InvalidRequest, TandemError

LOCAL_CODES = ("configuration", "model_unavailable", "device_unknown", "unsupported", "node_failed")
"""Codes of errors that concern this machine only."""
JSON_REQUESTED = "tandem.json"
"""Key in a context's `meta`: print the result, or an error, as JSON on stdout."""
JSON_INTO_FILES = ("eval", "bench")
"""Commands whose `--json` takes the name of a file, or `-` for stdout."""


class Exit(IntEnum):
    """Exit statuses, with their descriptions for the help."""

    meaning: str

    def __new__(cls, status: int, meaning: str) -> "Exit":
        found = int.__new__(cls, status)
        found._value_ = status
        found.meaning = meaning
        return found

    DONE = 0, "done"
    FAILURES = 1, "done, with failures: documents that failed, findings of an audit, models that do not fit"
    USAGE = 2, "wrong usage: an option, an argument, a missing file"
    UNREACHABLE = 3, "no node answers"
    REFUSED = 4, "the node refused the request: a missing API key, an unknown collection, an invalid value"
    UNABLE = 5, "the node is full, starting, or lacks a component; retry later"
    MACHINE = 6, "a local problem: a wrong setting, a missing model, a node that did not start"
    INTERRUPTED = 130, "Ctrl-C"


def exit_table() -> str:
    """The table at the end of the help."""
    return "\n\n".join(["Exit status:", *(f"{each.value} {each.meaning}" for each in Exit)])


def exit_status(error: TandemError | TandemClientError) -> Exit:
    if isinstance(error, NodeUnreachable):
        return Exit.UNREACHABLE
    if isinstance(error, Refused):
        return Exit.UNABLE if error.status == 429 or error.status >= 500 else Exit.REFUSED
    if isinstance(error, InvalidRequest | InvalidSetting):
        return Exit.USAGE
    if isinstance(error, TandemClientError):
        return Exit.FAILURES
    return Exit.MACHINE if error.code in LOCAL_CODES else Exit.FAILURES


def error_record(error: TandemError | TandemClientError) -> dict[str, Any]:
    """An error in the node's format, with the node's code if the node refused the request."""
    if isinstance(error, TandemError):
        code, detail = error.code, dict(error.detail)
    elif isinstance(error, Refused):
        code, detail = error.code, {**error.detail, "status": error.status, "retry_after": error.retry_after}
    else:
        code, detail = ("node_unreachable" if isinstance(error, NodeUnreachable) else "client_failed"), {}
    return {"error": {"code": code, "message": error.message, "detail": detail}}


def print_json(record: object) -> None:
    """Prints the only document on stdout."""
    sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def print_line(record: object) -> None:
    """Prints one of many lines."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()


class TandemGroup(TyperGroup):
    """The root command. An expected failure prints one line to stderr and ends with a status of `Exit`; with `--json`
    it also prints an object to stdout, so that stdout always holds one JSON document."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        arguments = list(ctx.args)
        try:
            return super().invoke(ctx)
        except (TandemError, TandemClientError) as error:
            _print_error(f"{error.message} {START_HINT}" if isinstance(error, NodeUnreachable) else error.message)
            if ctx.meta.get(JSON_REQUESTED):
                print_json(error_record(error))
            raise typer.Exit(exit_status(error)) from error
        except TyperException as error:  # shown by typer
            message = getattr(error, "format_message", error.__str__)
            requested = "--json" in arguments and ctx.invoked_subcommand not in JSON_INTO_FILES
            if ctx.meta.get(JSON_REQUESTED) or requested:
                print_json({"error": {"code": InvalidRequest.code, "message": message(), "detail": {}}})
            raise
        except OSError as error:
            if error.filename is None:
                raise
            _print_error(f"{error.filename}: {error.strerror}.")
            if ctx.meta.get(JSON_REQUESTED):
                print_json(error_record(InvalidRequest(f"{error.filename}: {error.strerror}.")))
            raise typer.Exit(Exit.USAGE) from error


def _print_error(message: str) -> None:
    Console(stderr=True).print(f"tandem: {message}", markup=False, highlight=False, soft_wrap=True)
