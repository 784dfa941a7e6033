"""Configures the C library's allocator to return large blocks to the system."""

import ctypes
from typing import Final

MMAP_THRESHOLD, ARENA_MAX = -3, -8
"""glibc's numbers of its options (malloc.h)."""
LARGE_BYTES: Final = 2**20
ARENAS: Final = 8


def give_large_blocks_back() -> bool:
    """Makes arrays of a megabyte and more leave memory as soon as they are freed; returns whether the allocator accepts
    it.

    glibc raises this threshold to 32 MB by itself, and each of its arenas (eight per core) then keeps what the largest
    rerank in its threads needed: the token vectors of 50 passages are 20 MB. A node grew to 5.6 GB in this way.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(ARENA_MAX, ARENAS))
