"""Memory of this machine's NVIDIA devices, as nvidia-smi reports it: no library, no context on the device."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

QUERY = ("nvidia-smi", "--query-gpu=name,memory.used,memory.free", "--format=csv,noheader,nounits")
_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    total_bytes: int
    """Bytes available to programs; the driver's own reserve is not counted."""
    used_bytes: int


def read_gpus(visible: str | None = None) -> Sequence[Gpu]:
    """Returns the devices in nvidia-smi's order. `visible` is the value of CUDA_VISIBLE_DEVICES (indices or UUIDs),
    None for all. Returns an empty sequence if nvidia-smi is missing or reports nothing: some containers lack it, and
    parts of a device (MIG) have no figures.
    """
    command = [*QUERY, *(("-i", visible) if visible else ())]
    try:
        output = subprocess.run(  # noqa: S603  # a fixed command
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(output.stdout)


def parse_gpus(output: str) -> Sequence[Gpu]:
    """Parses the lines that QUERY prints: name, MiB in use, MiB free. A line without figures (`[N/A]`) is skipped."""
    gpus = []
    for line in output.splitlines():
        name, *figures = (part.strip() for part in line.rsplit(",", 2))
        if len(figures) == 2 and all(figure.isdecimal() for figure in figures):
            used, free = (int(figure) * 2**20 for figure in figures)
            gpus.append(Gpu(name, total_bytes=used + free, used_bytes=used))
    return tuple(gpus)
