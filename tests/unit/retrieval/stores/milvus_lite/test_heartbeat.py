"""What Milvus Lite's process says of itself."""

import os

import pytest

from retrieval.stores.milvus_lite.heartbeat import Beat, Heart


def test_a_line_says_what_it_was_made_of() -> None:
    beat = Beat(ready=True, failing="docs: disk\nfull")
    line = beat.line()
    assert line.count(b"\n") == 1
    assert Beat.read(line) == beat


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"other": 1}', b"\xff"])
def test_something_else_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        Beat.read(line)


def test_a_flush_that_fails_is_said_until_one_succeeds() -> None:
    reader, writer = os.pipe()
    heart = Heart(writer)
    with os.fdopen(reader, "rb") as lines:
        heart.flushed("docs", "disk full")
        heart.flushed("other", None)
        heart.ready()
        assert Beat.read(lines.readline()) == Beat(ready=True, failing="docs: disk full")
        heart.flushed("docs", None)
        heart.ready()
        assert Beat.read(lines.readline()) == Beat(ready=True)
        heart.damaged("a file cannot be read")
        assert Beat.read(lines.readline()) == Beat(damaged="a file cannot be read")
    heart.ready()  # nobody listens any more, which is no error
    os.close(writer)
