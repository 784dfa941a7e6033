"""News within one process: that documents have changed, for whoever waits for a job."""

import asyncio


class Changes:
    """Wakes all waiters at once. What other processes do is not heard here: waiters have to look by themselves, too."""

    def __init__(self) -> None:
        self.upcoming = asyncio.Event()
        """Set at the next announcement. To be taken before looking, so that no change falls in between."""

    def announce(self) -> None:
        happened, self.upcoming = self.upcoming, asyncio.Event()
        happened.set()
