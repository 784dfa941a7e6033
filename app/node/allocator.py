"""The C library's allocator, held to giving large blocks back."""

import ctypes
from typing import Final

MMAP_THRESHOLD, ARENA_MAX = -3, -8
"""glibc's numbers of its options (malloc.h)."""
LARGE_BYTES: Final = 2**20
ARENAS: Final = 4


def give_large_blocks_back() -> bool:
    """Arrays of a megabyte and more leave memory as soon as they are freed; returns whether the allocator takes it.

    glibc raises that bound to 32 MB by itself, and each of its arenas (eight for a core) then keeps what the largest
    rerank in its threads needed: the token vectors of 50 passages are 20 MB. A node grew to 5.6 GB so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(ARENA_MAX, ARENAS))
