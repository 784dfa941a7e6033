"""Originals in a bucket of Amazon S3, or of a compatible service (MinIO, Aliyun OSS, Huawei OBS)."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from typing import TYPE_CHECKING, Literal

from obstore.store import S3Store

from ingestion.blobs.health import RecentFailure
from ingestion.blobs.naming import check, hash_at, is_whole, path_of
from ingestion.blobs.s3_errors import ERRORS, explain, is_missing
from ingestion.errors import BlobStoreUnavailable
from retrieval.errors import ConfigurationError
from retrieval.gather_or_cancel import gather_or_cancel

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config, S3Credential

S3Style = Literal["path", "virtual"]

PAGE = 1000
"""The most objects that S3 lists at once."""
PROBE = ".start"
"""Written, read, listed and deleted at the start."""


@dataclass(frozen=True, slots=True)
class S3Options:
    bucket: str
    prefix: str = ""
    """Prefix of every object's name, without slashes around it."""
    endpoint: str | None = None
    """URL of the service, without the bucket. None: Amazon's."""
    region: str | None = None
    """None: AWS_REGION, or us-east-1, which is what services without regions expect."""
    style: S3Style = "path"
    """Position of the bucket in a URL: `https://host/bucket` or `https://bucket.host`."""
    access_key: str | None = field(default=None, repr=False)
    """None: obstore's default chain (AWS_* variables, web identity, container, instance)."""
    secret_key: str | None = field(default=None, repr=False)
    requests_at_once: int = 16
    connect_timeout: timedelta = timedelta(seconds=5)
    timeout: timedelta = timedelta(seconds=120)
    """Seconds for one request, its body included: the largest document must get through on a slow line."""
    retries: int = 4
    retry_within: timedelta = timedelta(seconds=20)
    """Time after the first attempt until which retries may start."""

    @property
    def place(self) -> str:
        """Bucket, prefix and endpoint, for messages."""
        name = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{name} at {self.endpoint}" if self.endpoint else name


class S3BlobStore:
    """Implements BlobStore (see ingestion.ports): `<prefix>/ab/<sha256>`, the layout of the folder, so that either can
    be copied into the other.

    S3 acknowledges a write only when it is durable, and objects appear atomically. Every method raises ValueError if
    `sha256` is not 64 lower-case hexadecimal digits.
    """

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._bucket = open_bucket(options)
        self._slots = asyncio.Semaphore(options.requests_at_once)
        self._recent_failure = RecentFailure()

    @property
    def place(self) -> str:
        return self._options.place

    @property
    def failure(self) -> str | None:
        return self._recent_failure.current

    async def start(self) -> None:
        """Tries every operation that the store will perform. Raises ConfigurationError if bucket, key, permissions or
        region are wrong, BlobStoreUnavailable if the service is unavailable.
        """
        with self._translated("used", starting=True):
            await self._bucket.put_async(PROBE, b"", use_multipart=False)
            await self._fetch(PROBE)
            async for _ in self._bucket.list(chunk_size=PAGE):
                break
            await self._bucket.delete_async(PROBE)

    async def close(self) -> None:
        """Does nothing: connections end with the store."""

    async def put(self, blobs: Mapping[str, bytes]) -> None:
        """Implements BlobStore.put. Raises ValueError if a blob has another hash than its name."""
        await gather_or_cancel(self._put(path_of(sha256), data) for sha256, data in blobs.items())

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        """Implements BlobStore.get."""
        names = list(hashes)
        found = await gather_or_cancel(self._get(path_of(name)) for name in names)
        return {name: data for name, data in zip(names, found, strict=True) if data is not None}

    async def absent(self, hashes: Collection[str]) -> Collection[str]:
        """Implements BlobStore.absent."""
        names = list(hashes)
        there = await gather_or_cancel(self._is_there(path_of(name)) for name in names)
        return {name for name, found in zip(names, there, strict=True) if not found}

    async def delete(self, sha256: str) -> None:
        path = path_of(sha256)
        with self._translated("written"):
            try:
                await self._bucket.delete_async(path)
            except FileNotFoundError as error:
                if not is_missing(error):
                    raise

    async def every(self) -> AsyncIterator[Mapping[str, datetime]]:
        """Implements BlobStore.every."""
        pages = self._bucket.list(chunk_size=PAGE).__aiter__()
        while True:
            with self._translated("read"):
                page = await anext(pages, None)
            if page is None:
                return
            if found := {name: each["last_modified"] for each in page if (name := hash_at(each["path"]))}:
                yield found

    async def _put(self, path: str, data: bytes) -> None:
        async with self._slots:
            await asyncio.to_thread(check, path[-64:], data)
            with self._translated("written"):
                if not await self._holds(path, data):
                    # As one request: an interrupted multipart upload leaves invisible parts behind.
                    await self._bucket.put_async(path, data, use_multipart=False)

    async def _holds(self, path: str, data: bytes) -> bool:
        """Returns whether the bucket holds these bytes, as far as the service reports it. If the service encrypts with
        a key of its own, its ETag is not the MD5, and the blob is written again.
        """
        kept = await self._head(path)
        if kept is None or kept["size"] != len(data):
            return False
        digest = await asyncio.to_thread(lambda: md5(data, usedforsecurity=False).hexdigest())
        return (kept["e_tag"] or "").strip('"').lower() == digest

    async def _get(self, path: str) -> bytes | None:
        async with self._slots:
            with self._translated("read"):
                data = await self._fetch(path)
            if data is None or not await asyncio.to_thread(is_whole, path[-64:], data):
                return None
            return data

    async def _is_there(self, path: str) -> bool:
        async with self._slots:
            with self._translated("read"):
                return await self._head(path) is not None

    async def _head(self, path: str) -> "ObjectMeta | None":
        try:
            return await self._bucket.head_async(path)
        except FileNotFoundError as error:
            if is_missing(error):
                return None
            raise

    async def _fetch(self, path: str) -> bytes | None:
        try:
            answer = await self._bucket.get_async(path)
            return bytes(await answer.bytes_async())
        except FileNotFoundError as error:
            if is_missing(error):
                return None
            raise

    @contextmanager
    def _translated(self, done: str, *, starting: bool = False) -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            refusal = explain(error)
            message = f"The blob store {self.place} cannot be {done}: {refusal.reason}; {refusal.remedy}."
            self._recent_failure.note(message)
            # The library's message may contain a session token, so it is dropped.
            if starting and refusal.lasting:
                raise ConfigurationError(message, setting="TANDEM_BLOBS") from None
            raise BlobStoreUnavailable(message) from None


def open_bucket(options: S3Options) -> S3Store:
    """Returns the store of the bucket, without connecting."""
    config: S3Config = {
        "bucket": options.bucket,
        "virtual_hosted_style_request": options.style == "virtual",
        # Services other than Amazon's often lack bulk deletion.
        "disable_bulk_delete": True,
    }
    if options.region:
        config["region"] = options.region
    if options.endpoint:
        scheme, _, host = options.endpoint.rstrip("/").partition("://")
        # The library uses this URL unchanged, and prefers it to those of the environment.
        config["aws_endpoint_url_s3"] = (
            f"{scheme}://{options.bucket}.{host}" if options.style == "virtual" else f"{scheme}://{host}"
        )
    keys = _keys(options)
    return S3Store(
        prefix=options.prefix or None,
        config=config,
        client_options={
            "allow_http": bool(options.endpoint and options.endpoint.startswith("http://")),
            "connect_timeout": options.connect_timeout,
            "timeout": options.timeout,
        },
        retry_config={
            "max_retries": options.retries,
            "retry_timeout": options.retry_within,
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
        },
        # Not through the library's settings: it would add a session token of the environment to these keys.
        credential_provider=(lambda: keys) if keys else None,
    )


def _keys(options: S3Options) -> "S3Credential | None":
    if options.access_key is None or options.secret_key is None:
        return None
    return {
        "access_key_id": options.access_key,
        "secret_access_key": options.secret_key,
        "token": None,
        "expires_at": None,
    }
