"""Whether a process that lives also works: judged by what it lets be heard."""

TICK_SECONDS = 1.0
"""Between two looks."""


class Vitals:
    """Of one process. Time is counted in ticks of the one who looks: where the machine sleeps, or gives the looking
    process no time, its ticks fail to come as well, and nothing is held against the process that is looked at."""

    def __init__(self, silent_ticks: int, stalled_ticks: int | None = None) -> None:
        """How many ticks without a sign of life, and how many of work without progress, are too many."""
        self._silent_ticks = silent_ticks
        self._stalled_ticks = stalled_ticks
        self._silent = 0
        self._stalled = 0
        self._progress: int | None = None
        self._working = False

    def note_reply(self) -> None:
        """Something came from it."""
        self._silent = 0

    def reported(self, progress: int, *, working: bool) -> None:
        """What it says of its work. `progress` is another number whenever something was finished."""
        self.note_reply()
        if not working or progress != self._progress:
            self._stalled = 0
        self._progress = progress
        self._working = working

    def tick(self) -> str | None:
        """To call every TICK_SECONDS. Returns why it hangs, as the end of a sentence that begins with its name, where
        it does."""
        self._silent += 1
        self._stalled += self._working
        if self._silent > self._silent_ticks:
            return f"gave no sign of life for {self._silent_ticks * TICK_SECONDS:.0f} s"
        if self._stalled_ticks is not None and self._stalled > self._stalled_ticks:
            return f"finished none of its work for {self._stalled_ticks * TICK_SECONDS:.0f} s"
        return None
