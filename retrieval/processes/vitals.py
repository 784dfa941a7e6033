"""Detects a process that is alive but hangs, from the messages that it sends."""

TICK_SECONDS = 1.0
"""Interval of ticks."""


class Vitals:
    """The health of one process. Time is counted in ticks of the monitoring process: while the machine sleeps, or the
    monitoring process gets no processor time, no ticks pass, and the monitored process is not blamed.
    """

    def __init__(self, silent_ticks: int, stalled_ticks: int | None = None) -> None:
        """`silent_ticks` is the limit without a sign of life, `stalled_ticks` the limit of work without progress."""
        self._silent_ticks = silent_ticks
        self._stalled_ticks = stalled_ticks
        self._silent = 0
        self._stalled = 0
        self._progress: int | None = None
        self._working = False

    @property
    def silent_ticks(self) -> int:
        """Ticks since the last sign of life."""
        return self._silent

    def note_reply(self) -> None:
        """Records a sign of life."""
        self._silent = 0

    def reported(self, progress: int, *, working: bool) -> None:
        """Records the process's report of its work. `progress` is a number that changes whenever something was
        finished.
        """
        self.note_reply()
        if not working or progress != self._progress:
            self._stalled = 0
        self._progress = progress
        self._working = working

    def tick(self) -> str | None:
        """Call this every TICK_SECONDS. If the process hangs, returns the reason as the end of a sentence that begins
        with its name.
        """
        self._silent += 1
        self._stalled += self._working
        if self._silent > self._silent_ticks:
            return f"gave no sign of life for {self._silent_ticks * TICK_SECONDS:.0f} s"
        if self._stalled_ticks is not None and self._stalled > self._stalled_ticks:
            return f"finished none of its work for {self._stalled_ticks * TICK_SECONDS:.0f} s"
        return None
