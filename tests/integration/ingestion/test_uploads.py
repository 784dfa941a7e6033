"""Files of forms on their way in: where they lie, and that nothing is left of them."""

import os
import stat
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from tests.support.nodes.node import NodeUnderTest, running

WORDS = b"Words of a long file. " * 100_000
ROUTES = {"/ingest": "files", "/v1/files": "file"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
async def small(folder: Path) -> AsyncIterator[NodeUnderTest]:
    async with running(folder, max_body_mb=4, max_document_mb=4, workers=0) as node:
        yield node


@dataclass
class Spooled:
    """A temporary file that was written to a disk."""

    folder: str
    mode: int
    file: IO[bytes]


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[Spooled]:
    made: list[Spooled] = []
    real = tempfile.TemporaryFile

    def noted(*arguments: Any, **options: Any) -> Any:
        file = real(*arguments, **options)
        made.append(Spooled(str(options["dir"]), stat.S_IMODE(os.fstat(file.fileno()).st_mode), file))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    return made


@pytest.mark.parametrize(("path", "field"), ROUTES.items())
async def test_they_lie_in_the_data_folder_for_this_account_alone(
    small: NodeUnderTest, folder: Path, spooled: list[Spooled], path: str, field: str
) -> None:
    answer = await small.http.post(path, files=[(field, ("a.txt", WORDS, "text/plain"))])
    assert answer.status_code in (200, 202), answer.text
    [file] = spooled
    assert (file.folder, file.mode, file.file.closed) == (str(folder / "tmp"), 0o600, True)
    assert stat.S_IMODE((folder / "tmp").stat().st_mode) == 0o700
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize(("path", "field"), ROUTES.items())
@pytest.mark.parametrize("end", [b"", b"\r\n--x\r\nno header", b"\r\n--x\r\n" + b"h" * 10_000])
async def test_forms_that_break_off_leave_nothing(
    small: NodeUnderTest, folder: Path, spooled: list[Spooled], path: str, field: str, end: bytes
) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="a.txt"\r\n\r\n'.encode()

    async def parts() -> AsyncIterator[bytes]:
        for part in (head, WORDS, end):
            yield part

    answer = await small.http.post(path, content=parts(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code in (400, 422), answer.text
    assert [each.file.closed for each in spooled] == [True]
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize(("path", "field"), ROUTES.items())
async def test_a_full_disk_is_told_as_one(
    small: NodeUnderTest, monkeypatch: pytest.MonkeyPatch, path: str, field: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    answer = await small.http.post(path, files=[(field, ("a.txt", WORDS, "text/plain"))])
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "store_full")
    assert "No space left on device" in error["message"]
    assert int(answer.headers["retry-after"]) > 0


async def test_what_a_form_says_of_its_files_is_bounded(small: NodeUnderTest) -> None:
    async def asked(data: bytes, *, as_file: bool) -> httpx.Response:
        part = ("data", ("blob", data, "application/json") if as_file else (None, data))
        return await small.http.post("/ingest", files=[("files", ("a.txt", b"Words.", "text/plain")), part])

    for as_file in (False, True):
        wide = await asked(b'{"metadata": {"k": [' + b"[]," * 2000 + b"[]]}}", as_file=as_file)
        assert (wide.status_code, wide.json()["error"]["code"]) == (413, "too_large")
        many = await asked(b"{" + b",".join(b'"k%d":1' % number for number in range(2000)) + b"}", as_file=as_file)
        assert (many.status_code, many.json()["error"]["code"]) == (422, "invalid_request")
        long = await asked(b'{"partition": "' + b"p" * 300_000 + b'"}', as_file=as_file)
        assert (long.status_code, long.json()["error"]["code"]) == (413, "too_large")
        assert (await asked(b'{"partition": "p"}', as_file=as_file)).status_code == 202
