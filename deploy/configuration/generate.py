"""Writes the two configuration pages from app/settings.py: run it after a setting was added or changed.

    python deploy/configuration/generate.py

A test compares the pages with what this writes.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
sys.path.insert(0, str(HERE.parents[1]))

from app.settings import PREFIX, Settings  # noqa: E402  # the path first

CHINESE = tomllib.loads((HERE / "zh.toml").read_text(encoding="utf-8"))
"""Title, introduction, column names, section titles and a description of every setting."""
ENGLISH = tomllib.loads((HERE / "en.toml").read_text(encoding="utf-8"))
"""The same without the descriptions, which are those of the settings themselves."""
SECTIONS: dict[str, Sequence[str]] = ENGLISH["settings"]
"""Names of settings by section, in the order of the pages."""


def page(words: dict[str, dict[str, str]], link: str) -> str:
    """One page, in the language of `words`."""
    text = words["page"]
    parts = [f"# {text['title']}", link, text["introduction"].strip()]
    for section, names in SECTIONS.items():
        parts.append(f"## {words['sections'][section]}")
        parts.append("\n".join(_table(names, words)))
    return "\n\n".join(parts) + "\n"


def _table(names: Sequence[str], words: dict[str, dict[str, str]]) -> Iterator[str]:
    text = words["page"]
    yield f"| {text['setting']} | {text['default']} | {text['values']} | {text['meaning']} |"
    yield "| --- | --- | --- | --- |"
    for name in names:
        field = Settings.model_fields[name]
        meaning = words["descriptions"][name] if "descriptions" in words else field.description or ""
        yield f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_values(field)} | {meaning.replace('|', '/')} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _values(field: FieldInfo) -> str:
    """Accepted values, in signs that need no translation."""
    for each in (field.annotation, *get_args(field.annotation)):
        if get_origin(each) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(each))
        if each is bool:
            return "`true`, `false`"
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
    bounds = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for kind, (sign, name) in signs.items()
        if isinstance(bound, kind)
    ]
    return ", ".join(bounds)


PAGES = {
    DOCS / "en" / "configuration.md": (ENGLISH, "[中文](../zh/configuration.md)"),
    DOCS / "zh" / "configuration.md": (CHINESE, "[English](../en/configuration.md)"),
}

if __name__ == "__main__":
    for path, (words, link) in PAGES.items():
        path.write_text(page(words, link), encoding="utf-8")
