"""The two hubs that weights come from, each through its own library: resume, retries and checksums are theirs."""

import logging
from collections.abc import Callable
from fnmatch import fnmatch
from hashlib import file_digest
from pathlib import Path
from typing import Protocol, Self

import httpx
import modelscope_hub
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoSibling
from modelscope_hub import _download
from modelscope_hub.errors import AuthenticationError, FileDownloadError, HubError, NotExistError, PermissionDeniedError

from retrieval.models.files import NEEDED, NOT_NEEDED

Progress = Callable[[str, int, int], None]
"""Arguments: file, received bytes, total bytes. Called from the downloading threads, first with what exists already;
the received bytes decrease if a file has to start over. A BaseException that is not an Exception ends the download.
"""


class NotOffered(Exception):
    """The hub has no such model, or denies access to it."""


class Broken(Exception):
    """The download started and failed. The received files stay for the next attempt, except those with
    wrong checksums.
    """


class Source(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def endpoint(self) -> str: ...

    def download(self, model: str, folder: Path, progress: Progress) -> None:
        """Fills `folder` with the model's needed files, resuming what lies there. Blocks. Raises NotOffered, Broken."""
        ...


class _NoBar:
    """Implements the part of a progress bar's interface that the libraries use, without drawing a bar."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def update(self, n: float | None = 1) -> None: ...

    def update_transfer(self, n: float | None = 1) -> None:
        """Ignores bytes from the network, which may be compressed; `update` counts them again when they are on disk."""

    def set_postfix_str(self, postfix: str = "", refresh: bool = True) -> None: ...

    set_transfer_postfix_str = set_postfix_str


class ModelScope:
    name = "ModelScope"

    def __init__(self, endpoint: str | None, lock_dir: Path) -> None:
        """`endpoint` None: the library's own default or setting. `lock_dir`: where it keeps its file locks."""
        self._config = modelscope_hub.HubConfig(endpoint=endpoint, cache_dir=lock_dir)
        # The library draws bars in addition to its callbacks and logs each file; no argument disables either.
        vars(_download)["tqdm"] = _NoBar
        logging.getLogger("modelscope_hub").setLevel(logging.ERROR)

    @property
    def endpoint(self) -> str:
        return self._config.endpoint or ""

    def download(self, model: str, folder: Path, progress: Progress) -> None:
        class Report(modelscope_hub.ProgressCallback):
            def __init__(self, filename: str, file_size: int) -> None:
                super().__init__(filename, file_size)
                self.done = 0
                progress(filename, 0, file_size)

            def update(self, size: int) -> None:
                self.done += size
                progress(self.filename, self.done, self.file_size)

        try:
            modelscope_hub.HubApi(self._config).download_repo(
                model,
                "model",
                local_dir=folder,
                allow_patterns=list(NEEDED),
                ignore_patterns=list(NOT_NEEDED),
                progress_callbacks=[Report],
            )
        except (NotExistError, AuthenticationError, PermissionDeniedError) as error:
            raise NotOffered(_line(error)) from error
        except FileDownloadError as error:
            file, cause = next(iter(error.failed_files.items()))
            raise Broken(f"{file}: {_line(cause)}") from error
        except (HubError, OSError) as error:  # exceptions of requests are OSErrors
            raise Broken(_line(error)) from error


class HuggingFace:
    name = "Hugging Face"

    def __init__(self, endpoint: str | None) -> None:
        """`endpoint` None: the library's own default or setting."""
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")

    def download(self, model: str, folder: Path, progress: Progress) -> None:
        try:
            listing = HfApi(endpoint=self.endpoint).model_info(model, files_metadata=True, timeout=15)
            for file in listing.siblings or ():
                if _needed(file.rfilename):
                    self._download_file(model, listing.sha, file, folder, progress)
        except (RepositoryNotFoundError, GatedRepoError) as error:
            raise NotOffered(_line(error)) from error
        except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
            raise Broken(_line(error)) from error

    def _download_file(
        self, model: str, revision: str | None, file: RepoSibling, folder: Path, progress: Progress
    ) -> None:
        name, size = file.rfilename, file.size or 0

        class Report(_NoBar):
            def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
                self.done = initial
                progress(name, initial, size)

            def update(self, n: float | None = 1) -> None:
                self.done += int(n or 0)
                progress(name, self.done, size)

        target = Path(
            hf_hub_download(model, name, revision=revision, local_dir=folder, endpoint=self.endpoint, tqdm_class=Report)
        )
        # Over plain HTTP the library checks the size only.
        if file.lfs and _sha256(target) != file.lfs.sha256:
            target.unlink()
            raise Broken(f"{name}: hash mismatch")


def _needed(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in NEEDED) and not any(fnmatch(file, p) for p in NOT_NEEDED)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _line(error: BaseException) -> str:
    """Returns the first line of an SDK's message, whose other lines may hold requests and bodies."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
