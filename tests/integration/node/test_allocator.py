"""Memory of arrays that threads have freed."""

import subprocess
import sys

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from app.node.allocator import give_large_blocks_back

assert sys.argv[1] == "no" or give_large_blocks_back()


def work(number):
    kept = [bytearray(1000) for _ in range(50)]
    for size in range(1, 24):
        np.ones(size * 2**20, np.uint8)
        kept.append(bytearray(70_000))  # lies behind the freed array, and keeps its place from being trimmed
    return kept


with ThreadPoolExecutor(16) as threads:
    kept = [list(threads.map(work, range(16))) for _ in range(2)]
    print(psutil.Process().memory_info().rss >> 20)
"""


def megabytes(held: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, held], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_large_arrays_leave_memory_when_they_are_freed() -> None:
    assert megabytes("yes") < megabytes("no") - 100
