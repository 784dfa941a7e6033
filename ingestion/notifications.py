"""Notifications within one process: documents were queued, or a job changed."""

import asyncio


class Notifications:
    """Wakes all waiters at once. Changes by other processes are not notified, so waiters have to poll as well."""

    def __init__(self) -> None:
        self.upcoming = asyncio.Event()
        """Set at the next announcement. To be taken before looking, so that no change falls in between."""

    def announce(self) -> None:
        happened, self.upcoming = self.upcoming, asyncio.Event()
        happened.set()
