"""A Python client of Tandem's HTTP interface, for blocking and for asynchronous programs. Needs httpx alone."""

from langchain_tandem.client.asynchronous import AsyncTandemClient
from langchain_tandem.client.blocking import TandemClient
from langchain_tandem.client.errors import (
    IngestFailed,
    InvalidSetting,
    NodeUnreachable,
    NotFound,
    NotTandem,
    Overloaded,
    Refused,
    TandemClientError,
    Unauthorized,
    Unavailable,
)
from langchain_tandem.client.retrying import LONG_RETRIES, NO_RETRIES, SHORT_RETRIES, Retries

__all__ = [
    "LONG_RETRIES",
    "NO_RETRIES",
    "SHORT_RETRIES",
    "AsyncTandemClient",
    "IngestFailed",
    "InvalidSetting",
    "NodeUnreachable",
    "NotFound",
    "NotTandem",
    "Overloaded",
    "Refused",
    "Retries",
    "TandemClient",
    "TandemClientError",
    "Unauthorized",
    "Unavailable",
]
