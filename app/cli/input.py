"""Input of the commands: documents and queries on standard input, NDJSON files, metadata as options, confirmations."""

import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from app.cli.console import messages
from app.cli.exit_codes import Exit
from retrieval.errors import InvalidRequest

STDIN = Path("-")


def confirm(action: str, question: str) -> None:
    """Asks on the terminal before `action`, such as "Revoking a key". Ends the command if the answer is no; raises
    InvalidRequest where there is no terminal.
    """
    if not messages().is_terminal:
        raise InvalidRequest(f"{action} cannot be undone: confirm with --yes.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(Exit.FAILURES)


def read_metadata(pairs: Sequence[str]) -> dict[str, Any]:
    """Parses `key=value`: a value that is JSON (a number, true, false, a list, "text") is parsed, any other is text.
    Raises InvalidRequest.
    """
    metadata = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InvalidRequest(f"--metadata {pair!r}: give a key and a value, as in year=2024.")
        metadata[key] = _value(value)
    return metadata


def read_document(
    name: str | None, media_type: str | None, metadata: Mapping[str, Any], language: str | None = None
) -> dict[str, Any]:
    """Reads one document from standard input. Without a name, the node derives an id from the content."""
    document: dict[str, Any] = {"content_base64": b64encode(sys.stdin.buffer.read()).decode(), "metadata": metadata}
    if name:
        document |= {"id": name, "filename": name}
    if media_type:
        document["media_type"] = media_type
    if language:
        document["language"] = language
    return document


def read_documents(
    paths: Sequence[Path], metadata: Mapping[str, Any], language: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yields documents of NDJSON: one object per line, with the fields of a document of POST /ingest; `-` is standard
    input. `metadata` is the default of each key, `language` that of the language. Raises InvalidRequest.
    """
    for path in paths:
        if path == STDIN:
            yield from _parsed(sys.stdin.buffer, "standard input", metadata, language)
        else:
            with path.open("rb") as lines:
                yield from _parsed(lines, str(path), metadata, language)


def read_questions() -> list[str]:
    """Reads queries from standard input, one per line. Raises InvalidRequest if there is none."""
    lines = sys.stdin.buffer.read().decode("utf-8", "replace").splitlines()
    questions = [line.strip() for line in lines if line.strip()]
    if not questions:
        raise InvalidRequest("Standard input contains no query: write one per line.")
    return questions


def _parsed(
    lines: Iterable[bytes], name: str, metadata: Mapping[str, Any], language: str | None
) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError as error:
            raise InvalidRequest(f"{name}, line {number}: not JSON ({error}).") from None
        if not isinstance(document, dict) or not isinstance(document.get("metadata", {}), dict):
            raise InvalidRequest(f'{name}, line {number}: give an object, as in {{"id": "a", "text": "…"}}.')
        if metadata:
            document["metadata"] = {**metadata, **document.get("metadata", {})}
        if language:
            document.setdefault("language", language)
        yield document


def _value(text: str) -> Any:
    def no_number(name: str) -> str:  # NaN and Infinity are not JSON
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=no_number)
    except ValueError:
        return text


async def standard_input() -> asyncio.StreamReader:
    """Returns a reader of standard input for the running event loop. Standard input has to be a pipe or a socket."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
