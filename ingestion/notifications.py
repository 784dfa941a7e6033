"""News within one process, for whoever waits: that documents were queued, or what became of them."""

import asyncio


class Notifications:
    """Wakes all waiters at once. What other processes do is not heard here: waiters have to look by themselves, too."""

    def __init__(self) -> None:
        self.upcoming = asyncio.Event()
        """Set at the next announcement. To be taken before looking, so that no change falls in between."""

    def announce(self) -> None:
        happened, self.upcoming = self.upcoming, asyncio.Event()
        happened.set()
