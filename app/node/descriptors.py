"""The limit of file descriptors of this process: each connection takes one."""

import resource

TARGET_LIMIT = 65_536
RESERVED_DESCRIPTORS = 400
"""Descriptors for everything except connections: stores, databases, children, files."""
MIN_CONNECTIONS = 16
"""Connections that are allowed however few descriptors there are."""


def raise_limit() -> int:
    """Raises the soft limit to the hard one, up to WANTED. Returns the resulting limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = TARGET_LIMIT if hard == resource.RLIM_INFINITY else min(hard, TARGET_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    return limit()


def limit() -> int:
    """Returns the current soft limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return TARGET_LIMIT if soft == resource.RLIM_INFINITY else soft


def connections_within(descriptors: int) -> int:
    """Returns how many connections leave enough descriptors for the rest."""
    return max(descriptors - RESERVED_DESCRIPTORS, MIN_CONNECTIONS)
