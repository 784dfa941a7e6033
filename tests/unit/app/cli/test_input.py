"""Documents and questions that come as text."""

import io
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from app.cli.input import STDIN, read_document, read_documents, read_metadata, read_questions
from retrieval.errors import InvalidRequest


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    given = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    return given


def say(stdin: io.BytesIO, data: bytes) -> None:
    stdin.write(data)
    stdin.seek(0)


def test_values_of_metadata_are_json_where_they_can_be() -> None:
    pairs = [
        "year=2024",
        "score=0.5",
        "draft=false",
        "team=kiln",
        'id="7"',
        "tags=[1, 2]",
        "formula=a=b",
        "x=",
        "n=NaN",
    ]
    assert read_metadata(pairs) == {
        "year": 2024, "score": 0.5, "draft": False, "team": "kiln", "id": "7", "tags": [1, 2], "formula": "a=b",
        "x": "", "n": "NaN",
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["year", "=2024", ""])
def test_metadata_without_key_or_value_is_refused(pair: str) -> None:
    with pytest.raises(InvalidRequest, match="--metadata"):
        read_metadata([pair])


def test_a_document_of_standard_input(stdin: io.BytesIO) -> None:
    say(stdin, b"\xff\x00 any bytes")
    document = read_document("a.bin", "text/plain", {"year": 1})
    assert b64decode(document.pop("content_base64")) == b"\xff\x00 any bytes"
    assert document == {"id": "a.bin", "filename": "a.bin", "media_type": "text/plain", "metadata": {"year": 1}}
    assert read_document(None, None, {}).keys() == {"content_base64", "metadata"}
    assert read_document(None, None, {}, "zh")["language"] == "zh"


def test_a_language_is_of_documents_that_state_none(stdin: io.BytesIO) -> None:
    say(stdin, b'{"id": "a", "text": "A"}\n{"id": "b", "text": "B", "language": "de"}')
    assert [each["language"] for each in read_documents([STDIN], {}, "zh")] == ["zh", "de"]


def test_documents_of_lines(stdin: io.BytesIO, tmp_path: Path) -> None:
    say(stdin, b'{"id": "a", "text": "A"}\n\n{"id": "b", "text": "B", "metadata": {"year": 2}}')
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "c", "text": "C"}\n')
    documents = list(read_documents([STDIN, more], {"year": 1, "team": "kiln"}))
    assert [(each["id"], each["metadata"]) for each in documents] == [
        ("a", {"year": 1, "team": "kiln"}),
        ("b", {"year": 2, "team": "kiln"}),
        ("c", {"year": 1, "team": "kiln"}),
    ]
    assert list(read_documents([more], {})) == [{"id": "c", "text": "C"}]


@pytest.mark.parametrize("line", [b"{", b"[]", b'"a"', b'{"text": "a", "metadata": 1}', b"\xff"])
def test_a_line_that_is_no_document_is_told_with_its_number(stdin: io.BytesIO, line: bytes) -> None:
    say(stdin, b'{"text": "A"}\n' + line)
    documents = read_documents([STDIN], {})
    assert next(documents) == {"text": "A"}
    with pytest.raises(InvalidRequest, match="standard input, line 2: "):
        next(documents)


def test_questions_are_lines(stdin: io.BytesIO) -> None:
    say(stdin, "who?\r\n\n  什么? \n".encode())
    assert read_questions() == ["who?", "什么?"]
    with pytest.raises(InvalidRequest, match="no query"):
        read_questions()
