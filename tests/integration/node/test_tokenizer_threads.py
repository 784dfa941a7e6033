"""Threads that the tokenizers library starts in a node's process."""

import os
import subprocess
import sys

PROGRAM = """
import os
import sys

os.cpu_count = lambda: 12  # a larger host

from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from app.node.tokenizer_threads import bound_tokenizer_threads

if sys.argv[1] == "yes":
    bound_tokenizer_threads()
before = len(os.listdir("/proc/self/task"))
Tokenizer(WordLevel({"a": 0}, unk_token="a")).encode_batch_fast(["a"] * 1000)
print(len(os.listdir("/proc/self/task")) - before)
"""


def threads(bounded: str, **environment: str) -> int:
    without = {name: value for name, value in os.environ.items() if name != "RAYON_NUM_THREADS"}
    command = [sys.executable, "-c", PROGRAM, bounded]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**without, **environment})
    return int(done.stdout)


def test_a_process_tokenises_with_four_threads_at_most() -> None:
    assert threads("yes") == 4
    assert threads("no") == len(os.sched_getaffinity(0))


def test_a_value_set_from_outside_applies() -> None:
    assert threads("yes", RAYON_NUM_THREADS="7") == 7
