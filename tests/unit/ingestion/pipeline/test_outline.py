"""Headings, tables and fences of a text, and what they say of its chunks."""

import pytest

from ingestion.pipeline.outline import MAX_PATH_CHARS, outline_of

GUIDE = """\
---
title: Of the file
---

# Kiln **guide** {#top}

Intro.

## Firing [it](http://x/y)

### At night

Words.

```
# no heading
| a | b |
| - | - |
```

Cooling
-------

| a | b |
| :- | -: |
| 1 | 2 |
| 3 | 4 |

After.
"""


@pytest.mark.parametrize(
    ("begin", "end", "section"),
    [
        ("# Kiln", "Intro.", ["Kiln guide"]),
        ("Intro.", "Words.", ["Kiln guide"]),
        ("## Firing", "Words.", ["Kiln guide", "Firing it", "At night"]),
        ("# Kiln", "Words.", ["Kiln guide"]),
        ("### At", "```\n\nCooling", ["Kiln guide", "Firing it", "At night"]),
        ("Words.", "After.", ["Kiln guide", "Firing it", "At night"]),
        ("### At", "After.", ["Kiln guide"]),
        ("Cooling", "After.", ["Kiln guide", "Cooling"]),
        ("| 3", "After.", ["Kiln guide", "Cooling"]),
        ("---\ntitle", "---\n\n#", []),
    ],
)
def test_a_chunk_has_the_headings_above_it(begin: str, end: str, section: list[str]) -> None:
    outline = outline_of(GUIDE, "text/markdown")
    assert list(outline.section(GUIDE.index(begin), GUIDE.index(end))) == section
    assert outline_of(GUIDE, "text/plain").section(GUIDE.index(begin), len(GUIDE)) == ()


def test_a_table_is_its_header_and_its_rows() -> None:
    (table,) = outline_of(GUIDE, "text/markdown").tables
    assert GUIDE[table.start : table.rows] == "| a | b |\n| :- | -: |\n"
    assert GUIDE[table.rows : table.end] == "| 1 | 2 |\n| 3 | 4 |\n"


def test_of_a_list_of_values_the_first_line_is_the_header() -> None:
    (table,) = outline_of("a,b\n1,2\n3,4", "text/csv").tables
    assert (table.start, table.rows, table.end) == (0, 4, 11)
    assert not outline_of("a,b", "text/csv").tables
    assert not outline_of("a,b\n1,2", "text/plain").tables


@pytest.mark.parametrize("text", ["a\n- | -\n\nb", "| - | - |\nb", "text\n---\n| a |", "| a |\ntext\n| - |"])
def test_what_is_no_table(text: str) -> None:
    assert not [table for table in outline_of(text, "text/markdown").tables if table.rows < table.end]


def test_openings_at_the_end_of_a_chunk() -> None:
    outline = outline_of(GUIDE, "text/markdown")
    for begin, end, tail in (
        ("Intro.", "Words.", "## Firing"),
        ("Words.", "# no", "```\n# no"),
        ("Words.", "| 1", "Cooling"),
        ("## Firing", "Words.", "## Firing"),
        ("Words.", "\n\nCooling", "\n\nCooling"),
    ):
        place = outline.opening_tail(GUIDE, GUIDE.index(begin), GUIDE.index(end))
        assert place == GUIDE.index(tail)


def test_a_path_is_bounded_and_loses_its_outermost_headings() -> None:
    text = "\n\n".join(f"{'#' * level} {str(level) * 150}" for level in range(1, 7)) + "\n\nwords"
    path = outline_of(text, "text/markdown").section(text.index("words"), len(text))
    assert [title[0] for title in path] == ["5", "6"]
    assert sum(map(len, path)) <= MAX_PATH_CHARS
