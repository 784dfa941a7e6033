"""Limits the parts that the files of one request may expand to."""

from dataclasses import dataclass
from time import thread_time

from ingestion.errors import TooLarge

CPU_SECONDS = 20.0
"""Processor time that opening the files of one request may take; the process answers other requests as well."""


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    documents: int
    """Most documents that a request may become."""
    document_bytes: int
    """Largest of these."""
    unpacked_bytes: int
    """Total size of what is unpacked from archives and mail."""


class Budget:
    """Raises TooLarge beyond the limits. Belongs to the thread that creates it."""

    def __init__(self, limits: IntakeLimits) -> None:
        self._limits = limits
        self._documents = 0
        self._bytes = 0
        self._started = thread_time()

    @property
    def readable(self) -> int:
        """Largest number of bytes that the next part may have."""
        return min(self._limits.document_bytes, self._limits.unpacked_bytes - self._bytes)

    def take(self, size: int) -> None:
        """Counts one more part, of `size` bytes."""
        self._bytes += size
        if thread_time() - self._started > CPU_SECONDS:
            raise TooLarge(
                f"Opening the files that hold others takes more than {CPU_SECONDS:g} seconds of processor time. Send "
                "their members in several requests.",
                limit=CPU_SECONDS,
            )
        if self._bytes > self._limits.unpacked_bytes:
            raise TooLarge(
                f"The files that hold others have more than {self._limits.unpacked_bytes:,} bytes unpacked. Send their "
                "members in several requests, or raise TANDEM_MAX_UNPACKED_MB.",
                limit=self._limits.unpacked_bytes,
            )

    def add_document(self) -> None:
        self._documents += 1
        if self._documents > self._limits.documents:
            raise TooLarge(
                f"The request becomes more than {self._limits.documents:,} documents. Send it in parts.",
                limit=self._limits.documents,
            )
