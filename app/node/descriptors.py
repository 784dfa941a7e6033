"""The file descriptors of this process: each connection is one."""

import resource

WANTED = 65_536
KEPT_FREE = 400
"""For everything that is no connection: stores, databases, children, files that are read and written."""
FEWEST = 16
"""Connections that are allowed however few descriptors there are."""


def raise_limit() -> int:
    """Raises the soft limit to the hard one, up to WANTED. Returns what it then is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """The soft limit as it is now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def connections_within(descriptors: int) -> int:
    """How many connections leave enough descriptors for the rest."""
    return max(descriptors - KEPT_FREE, FEWEST)
