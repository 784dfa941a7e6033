"""The heartbeat of Milvus Lite's process to the node, one line per second. A silent process counts as hung."""

import json
import os
import threading
import time
from dataclasses import asdict, dataclass

EVERY_S = 1.0
IN_USE = 75
"""The status of a process that found its data in use."""
DAMAGED = 65


@dataclass(frozen=True, slots=True)
class Beat:
    ready: bool = False
    """It answers calls."""
    failing: str | None = None
    """Why rows do not get from memory into files."""
    damaged: str | None = None
    """Why it ends: the file that cannot be read, and how. No restart helps."""

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> "Beat":
        """Parses a line. Raises ValueError, TypeError if it is not a heartbeat."""
        return cls(**json.loads(line))


class Heart:
    """Sends the heartbeat. `descriptor` is a pipe that the node reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._ready = False
        self._failing: dict[str, str] = {}

    def start(self) -> None:
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def ready(self) -> None:
        self._ready = True
        self._say(self._now())

    def flushed(self, collection: str, failure: str | None) -> None:
        with self._lock:
            if failure is None:
                self._failing.pop(collection, None)
            else:
                self._failing[collection] = failure

    def damaged(self, reason: str) -> None:
        self._say(Beat(damaged=reason))

    def _now(self) -> Beat:
        with self._lock:
            failing = next((f"{name}: {reason}" for name, reason in self._failing.items()), None)
        return Beat(ready=self._ready, failing=failing)

    def _beat(self) -> None:
        while self._say(self._now()):
            time.sleep(EVERY_S)

    def _say(self, beat: Beat) -> bool:
        """Returns whether the node still reads. A line is written at once as a whole, being shorter than a
        pipe's page.
        """
        try:
            os.write(self._descriptor, beat.line())
        except OSError:
            return False
        return True
