"""TLS at the node: a certificate and its key from files, which are read again when they change."""

import asyncio
import ssl
from pathlib import Path
from typing import Final

import structlog

from retrieval.errors import ConfigurationError

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
"""Interval of the checks whether the files have changed."""


class Certificate:
    def __init__(self, certificate: Path, key: Path) -> None:
        """Both in PEM; the certificate's file may hold its chain. Raises ConfigurationError."""
        self._files = (certificate, key)
        self._seen = self._state()
        self.context = self._loaded()
        """Serves TLS 1.2 and later. New connections get what was read last."""

    async def watch(self) -> None:
        """Reads changed files until it is cancelled. Files that do not fit together change nothing."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        try:
            state = self._state()
            if state == self._seen:
                return
            self._loaded()  # half of a renewal must not take the working certificate away
            self.context.load_cert_chain(*self._files)
        except ConfigurationError as error:
            log.error("certificate not read again: the earlier one stays", reason=error.message)
            return
        self._seen = state
        log.info("certificate read again", file=str(self._files[0]))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # An encrypted key would ask for its password on the terminal.
            context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise self._unusable(str(getattr(error, "reason", None) or error)) from error
        return context

    def _state(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise self._unusable(str(error.strerror)) from error
        return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)

    def _unusable(self, why: str) -> ConfigurationError:
        certificate, key = self._files
        return ConfigurationError(
            f"TANDEM_TLS_CERT={certificate}, TANDEM_TLS_KEY={key}: cannot be used ({why}). Both are PEM files; the key "
            "belongs to the certificate and has no password."
        )


def _no_password() -> str:
    raise ValueError("the key has a password")
