"""Formats JSON and JSON Lines as text, with names and values unchanged (pure)."""

import json
from typing import Any

from ingestion.parsers.assembly import Extraction, assemble
from ingestion.types import ReadingReport

_LISTED = 20


class _Members(list[tuple[str, Any]]):
    """The members of an object, in order, repeated names included."""


# Numbers stay the digits that they were written in.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_Members, parse_int=str, parse_float=str, parse_constant=str, strict=False
)


def read_json(source: str) -> Extraction:
    """Reads JSON. A source that is not JSON is read as plain text, and the report says so. Raises NoText."""
    try:
        return assemble(["\n".join(_lines(_DECODER.decode(source.strip())))], "")
    except (ValueError, RecursionError):
        return assemble(
            [source], "", report=ReadingReport(warnings=("It is no valid JSON and was read as plain text.",))
        )


def read_json_lines(source: str) -> Extraction:
    """Reads one block per line. Lines that are not JSON stay unchanged, and the report names them. Raises NoText."""
    blocks: list[str] = []
    broken: list[str] = []
    for number, line in enumerate(source.split("\n"), 1):
        if not line.strip():
            continue
        try:
            blocks.append("\n".join(_lines(_DECODER.decode(line.strip()))))
        except (ValueError, RecursionError):
            blocks.append(line)
            broken.append(str(number))
    warnings = []
    if broken:
        more = f" and {len(broken) - _LISTED:,} more" if len(broken) > _LISTED else ""
        warnings.append(f"No valid JSON, read as plain text: line {', '.join(broken[:_LISTED])}{more}.")
    return assemble(["\n\n".join(blocks)], "", report=ReadingReport(warnings=tuple(warnings)))


def _lines(value: Any, indent: str = "") -> list[str]:
    """Returns `name: value`, nested values indented below."""
    if isinstance(value, _Members):
        lines = []
        for name, member in value:
            if isinstance(member, list) and member:
                lines += [f"{indent}{name}:", *_lines(member, f"{indent}  ")]
            else:
                lines.append(f"{indent}{name}: {_scalar(member)}")
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            inner = _lines(item, f"{indent}  ") if isinstance(item, list) and item else [f"{indent}  {_scalar(item)}"]
            inner[0] = f"{indent}- {inner[0][len(indent) + 2 :]}"
            lines += inner
        return lines
    return [f"{indent}{_scalar(value)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return ""
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else str(value)
    )
