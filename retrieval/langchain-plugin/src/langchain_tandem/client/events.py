"""Parses server-sent events, limited to the features that a node uses."""

from collections.abc import Iterator

from langchain_tandem.client.errors import NotTandem

MAX_EVENT_BYTES = 1 << 20
"""Bytes; a node's are a few hundred."""


class EventDecoder:
    """Turns a stream of bytes into the data of each event."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yields the data of each completed event. Raises NotTandem if the bytes are not such a stream."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise NotTandem("What came is no stream of events: a line did not end.")
        for line in lines:
            field, _, value = line.rstrip(b"\r").partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" ").decode())
            elif not field and not value and self._data:  # an empty line ends an event; ":" begins a comment
                yield "\n".join(self._data)
                self._data = []
