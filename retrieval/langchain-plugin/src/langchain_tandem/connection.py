"""How components reach a node: the fields that all of them share, and their clients."""

import asyncio
import os
from threading import Lock
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from langchain_tandem.client import LONG_RETRIES, SHORT_RETRIES, AsyncTandemClient, Retries, TandemClient
from langchain_tandem.client.exchange import address, authorization


def _api_key() -> SecretStr | None:
    key = os.environ.get("TANDEM_API_KEY")
    return SecretStr(key) if key else None


def _token() -> SecretStr | None:
    token = os.environ.get("TANDEM_TOKEN")
    return SecretStr(token) if token else None


class Clients:
    """Creates clients on first use: one for blocking calls, and one for each event loop, since connections belong to
    the loop that opened them. A copy or a pickle starts without clients.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocking: TandemClient | None = None
        self._asynchronous: dict[asyncio.AbstractEventLoop, AsyncTandemClient] = {}

    def __deepcopy__(self, _: object) -> "Clients":
        return Clients()

    def __reduce__(self) -> tuple[type["Clients"], tuple[()]]:
        return Clients, ()

    def blocking(self, url: str, api_key: SecretStr | None, **options: Any) -> TandemClient:
        with self._lock:
            if self._blocking is None:
                self._blocking = TandemClient(url, api_key, **options)
            return self._blocking

    def asynchronous(self, url: str, api_key: SecretStr | None, **options: Any) -> AsyncTandemClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            # The connections of an ended loop ended with it.
            for ended in [each for each in self._asynchronous if each.is_closed()]:
                del self._asynchronous[ended]
            if loop not in self._asynchronous:
                self._asynchronous[loop] = AsyncTandemClient(url, api_key, **options)
            return self._asynchronous[loop]

    def close(self) -> None:
        with self._lock:
            client, self._blocking = self._blocking, None
        if client:
            client.close()

    async def aclose(self) -> None:
        with self._lock:
            client = self._asynchronous.pop(asyncio.get_running_loop(), None)
        if client:
            await client.aclose()


STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)
"""Typing errors are reported without their input, which may be an API key. Every class that also derives from a
LangChain class needs it, since LangChain's configuration would take precedence.
"""


class Connection(BaseModel):
    """The address of a node and the options of its clients."""

    model_config = STRICT

    url: str = Field(
        default_factory=lambda: address(None),
        validation_alias=AliasChoices("url", "base_url"),
        description="Default: TANDEM_URL, or this machine. LangChain's own classes call it `base_url`; both are taken.",
    )
    api_key: SecretStr | None = Field(default_factory=_api_key, description="Default: TANDEM_API_KEY.")
    token: SecretStr | None = Field(
        default_factory=_token,
        description="Signed token that names the groups of the person behind the calls, for collections with "
        "principals. Default: TANDEM_TOKEN.",
    )
    timeout: float = Field(60.0, gt=0, description="Seconds without a byte of an answer.")
    retries: Retries = Field(SHORT_RETRIES, description="How long questions are repeated that may yet be answered.")
    ingest_retries: Retries = Field(LONG_RETRIES, description="How long documents are sent again.")
    _clients: Clients = PrivateAttr(default_factory=Clients)

    @model_validator(mode="after")
    def _check(self) -> Self:
        address(self.url)
        authorization(self.api_key, self.token)
        return self

    @property
    def client(self) -> TandemClient:
        """The client of blocking methods."""
        return self._clients.blocking(self.url, self.api_key, **self._options)

    @property
    def async_client(self) -> AsyncTandemClient:
        """The client of asynchronous methods in the running event loop."""
        return self._clients.asynchronous(self.url, self.api_key, **self._options)

    def close(self) -> None:
        """Closes the connections of blocking calls; later calls open new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        await self._clients.aclose()

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "timeout": self.timeout,
            "retries": self.retries,
            "ingest_retries": self.ingest_retries,
        }
