"""What the processes of a run use, and which of them are a device's engines."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

import psutil

HOST_PROGRAM = "retrieval.engines.vllm.host"
SEEN_BY = ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "VLLM_CPU_OMP_THREADS_BIND")
"""What tells one device's engines from another's, in their environment."""


@contextmanager
def processor_times() -> Iterator[dict[str, float]]:
    """Filled in at the end: cores that each program of this run kept busy."""
    used: dict[str, float] = {}
    before, began = _processor_seconds(), monotonic()
    yield used
    took = monotonic() - began
    for key, (name, seconds) in _processor_seconds().items():
        spent = seconds - before.get(key, (name, 0.0))[1]
        if spent > 0.02 * took:
            used[name] = used.get(name, 0.0) + spent / took


def _processor_seconds() -> dict[tuple[int, float], tuple[str, float]]:
    found = {}
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            command = process.cmdline()
            name = next((command[i + 1] for i, part in enumerate(command[:-1]) if part == "-m"), " ".join(command)[:40])
            if HOST_PROGRAM in name:
                name = f"{name} {' '.join(command[-2:])}"
            found[process.pid, process.create_time()] = (name, times.user + times.system)
    return found


def hosts_by_device() -> Mapping[str, Sequence[psutil.Process]]:
    """The engines' processes of this run, by what they see."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if HOST_PROGRAM in process.cmdline():
                environment = process.environ()
                found.setdefault(" ".join(environment.get(name, "") for name in SEEN_BY), []).append(process)
    return dict(sorted(found.items()))


def memory_used() -> list[int]:
    """Bytes of each device; empty where there is no nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
        return [int(line) * 2**20 for line in done.stdout.split()]
    return []
