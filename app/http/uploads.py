"""Receives files of forms. Files that do not fit into memory are kept in the data folder without a name."""

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.settings import Settings
from retrieval.errors import StoreFull, TandemError

FOLDER: Final = "tmp"
"""Subfolder of the data folder: as private as the documents, and on a disk that has room for them."""


class UploadRoute(APIRoute):
    """A route that accepts forms with files. The files are closed, and thereby deleted, when the request ends."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def with_uploads(request: Request) -> Response:
            uploading = _UploadRequest(request.scope, request.receive)
            try:
                return await handle(uploading)
            except HTTPException:
                # FastAPI has one answer to every error while it reads a body.
                if uploading.failure:
                    raise uploading.failure from None
                raise
            finally:
                uploading.close_files()

        return with_uploads


class _UploadRequest(Request):
    """Starlette's request, with another folder for files."""

    failure: TandemError | None = None
    parser: "_Parser | None" = None

    def close_files(self) -> None:
        """Closes all files, including those of incomplete parts, which are in no form."""
        if self.parser:
            self.parser.close_files()

    async def _get_form(
        self, *, max_files: float = 1000, max_fields: float = 1000, max_part_size: int = 2**20
    ) -> FormData:
        if self._form is None:
            settings = self.app.state.settings
            assert isinstance(settings, Settings)
            try:
                async with aclosing(self.stream()) as stream:
                    self.parser = parser = _Parser(
                        self.headers, stream, max_files=max_files, max_fields=max_fields, max_part_size=max_part_size
                    )
                    parser.folder = settings.data_dir / FOLDER
                    self._form = await parser.parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
            except OSError as error:
                self.failure = StoreFull(
                    f"The files of the form cannot be kept until they are read: {error.strerror}. Make room in the "
                    "data folder, or send fewer at a time."
                )
                raise self.failure from error
        return self._form


class _Parser(MultiPartParser):
    folder: Path

    def close_files(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            self._files_to_close_on_error.pop().close()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Without a name, if the system supports it: nothing remains, however this process ends.
            file = SpooledTemporaryFile(self.spool_max_size, dir=str(self.folder))  # noqa: SIM115  # closed with the form
            self._files_to_close_on_error.append(file)
            upload.file = file  # type: ignore[assignment]  # as Starlette does
