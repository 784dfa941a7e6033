"""The logic that both clients share: which request is sent next, and how an answer or a failure is handled. Sends
nothing itself.
"""

import json
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar

import httpx

from langchain_tandem.client import calls
from langchain_tandem.client.batching import Json
from langchain_tandem.client.calls import Call
from langchain_tandem.client.errors import (
    BY_STATUS,
    InvalidSetting,
    NodeUnreachable,
    NotTandem,
    Refused,
    TandemClientError,
    Unavailable,
)
from langchain_tandem.client.retrying import NO_RETRIES, Retries, RetryState

T = TypeVar("T")
LOCAL = "http://127.0.0.1:8080"
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures after which the node has certainly not seen the request."""
NOT_DONE = (429, 503)
"""Answers after which it has certainly not done what was asked."""
GATEWAY = (502, 503, 504)
"""Statuses of a proxy whose node is unavailable."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Flow = Generator[Call[Any] | Pause, httpx.Response, T]
"""Yields what to send or how long to wait; is sent the answer, or thrown what httpx raised; returns the result."""


class Secret(Protocol):
    """A type that wraps a secret, such as pydantic's SecretStr."""

    def get_secret_value(self) -> str: ...


def address(url: str | None) -> str:
    """Returns the checked address. None stands for TANDEM_URL, or this machine if it is not set. Raises
    InvalidSetting.
    """
    if url is None:
        url = os.environ.get("TANDEM_URL") or LOCAL
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidSetting(f"{url!r} is no address of a node: give one such as http://127.0.0.1:8080.")
    if parsed.userinfo:
        raise InvalidSetting("The address of a node holds a user name or password: give an api_key instead.")
    return url.rstrip("/")


def one_address(url: str | None, base_url: str | None) -> str | None:
    """Returns the address by whichever name it was given. Raises InvalidSetting for two that differ."""
    if url is not None and base_url is not None and url != base_url:
        raise InvalidSetting(f"url is {url!r} and base_url {base_url!r}: they mean the same, so give one.")
    return base_url if url is None else url


def authorization(api_key: str | Secret | None, token: str | Secret | None = None) -> dict[str, str]:
    """Returns the headers that say who calls. None stands for TANDEM_API_KEY and TANDEM_TOKEN, if set. Raises
    InvalidSetting, whose message contains neither.
    """
    headers = {}
    if key := _sendable(api_key, "TANDEM_API_KEY", "API key"):
        headers["Authorization"] = f"Bearer {key}"
    if signed := _sendable(token, "TANDEM_TOKEN", "token"):
        headers["X-Tandem-Token"] = signed
    return headers


def _sendable(secret: str | Secret | None, variable: str, what: str) -> str:
    if secret is None:
        secret = os.environ.get(variable, "")
    text = secret if isinstance(secret, str) else secret.get_secret_value()
    if text and (not (text.isascii() and text.isprintable()) or " " in text):
        raise InvalidSetting(f"The {what} holds white space or characters that no header can carry.")
    return text


class Exchange:
    """The calls of one client to one node."""

    def __init__(self, url: str | None, retries: Retries, ingest_retries: Retries) -> None:
        self.url = address(url)
        self._retries = retries
        self._ingest_retries = ingest_retries
        self._answered = False

    def once(self, call: Call[T]) -> Flow[T]:
        """Performs one call, repeated for as long as a retry may help."""
        retries = self._ingest_retries if call.ingests else self._retries
        retry_state = RetryState(retries if call.retried else NO_RETRIES)
        while True:
            failure: TandemClientError
            try:
                response = yield call
            except httpx.RequestError as error:
                failure = self.failure(error)
                not_processed = isinstance(error, NOT_SENT)
            else:
                if response.is_success or response.status_code in call.accepted_statuses:
                    return self._read(call, response)
                failure = self.refusal(response)
                not_processed = response.status_code in NOT_DONE
            if not (call.repeatable or not_processed):
                raise failure
            yield Pause(retry_state.pause(failure, answered=self._answered))

    def search_many(self, queries: Sequence[str], options: Json) -> Flow[list[Json]]:
        results: list[Json] = []
        for batch in _split(queries, calls.QUERIES_A_REQUEST):
            results += yield from self.once(calls.search_many(batch, options))
        return results

    def embed(
        self, texts: Sequence[str], kind: calls.TextKind, lane: calls.Lane, instruction: str | None
    ) -> Flow[list[list[float]]]:
        vectors: list[list[float]] = []
        for batch in _split(texts, calls.TEXTS_A_REQUEST):
            vectors += yield from self.once(calls.embed(batch, kind, lane, instruction))
        return vectors

    def job(self, job_id: str, *, receipts: bool) -> Flow[Json]:
        job = yield from self.once(calls.job(job_id, limit=None if receipts else 0))
        cursor = job["next_cursor"] if receipts else None
        while cursor:
            page = yield from self.once(calls.job(job_id, cursor=cursor))
            job["documents"] += page["documents"]
            cursor = page["next_cursor"]
        return job

    def retry_state(self) -> RetryState:
        """Returns the retry state for a stream that reports ingestion."""
        return RetryState(self._ingest_retries)

    def event(self, data: str) -> Json:
        try:
            job = dict(json.loads(data))
            job["state"] = str(job["state"])
        except (ValueError, KeyError, TypeError):
            raise self._not_tandem() from None
        return job

    def interrupted(self, job_id: str) -> NodeUnreachable:
        return NodeUnreachable(f"{self.url} stopped telling of job {job_id}, which had not ended.")

    def failure(self, error: httpx.RequestError | TandemClientError) -> TandemClientError:
        if isinstance(error, TandemClientError):
            return error
        if isinstance(error, httpx.DecodingError):
            return self._not_tandem()
        failure = NodeUnreachable(f"No answer from {self.url}: {type(error).__name__}.")
        failure.__cause__ = error
        return failure

    def refusal(self, response: httpx.Response) -> TandemClientError:
        """Returns the error for an unsuccessful answer. The response must have been read."""
        status = response.status_code
        try:
            body = response.json()
            # POST /v2/rerank answers as Cohere does: message and code by themselves.
            error = {**body, "detail": {}} if "code" in body else body["error"]
            message, code, detail = str(error["message"]), str(error["code"]), dict(error["detail"])
        except (ValueError, KeyError, TypeError):
            if status in GATEWAY:
                message = f"A proxy answered {status} in the place of {self.url}"
                return Unavailable(
                    f"{message}.", code=f"http_{status}", status=status, retry_after=_retry_after(response)
                )
            return self._not_tandem()
        self._answered = True
        kind = BY_STATUS.get(status, Refused)
        return kind(f"{message} ({code})", code=code, status=status, detail=detail, retry_after=_retry_after(response))

    def _read(self, call: Call[T], response: httpx.Response) -> T:
        try:
            result = call.read(response)
        except (ValueError, KeyError, TypeError):
            raise self._not_tandem() from None
        self._answered = True
        return result

    def _not_tandem(self) -> NotTandem:
        return NotTandem(f"What answers at {self.url} is not a Tandem node.")


def _retry_after(response: httpx.Response) -> float | None:
    """Returns the seconds of the header, which holds seconds or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _split(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
