"""Memory and load of this machine's NVIDIA devices, as nvidia-smi reports it: no library, no context on the device."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

_FIGURES = ("memory.used", "memory.free", "utilization.gpu", "temperature.gpu", "power.draw")
QUERY = (
    "nvidia-smi",
    f"--query-gpu={','.join(('index', 'uuid', 'name', *_FIGURES))}",
    "--format=csv,noheader,nounits",
)
_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    id: str
    """Id that CUDA_VISIBLE_DEVICES accepts."""
    name: str
    total_bytes: int
    """Bytes available to programs; the driver's own reserve is not counted."""
    used_bytes: int
    utilization_percent: float | None = None
    """Part of the last second in which it computed; None, as of the others, if it is not measured."""
    temperature: float | None = None
    """Degrees Celsius."""
    power: float | None = None
    """Watts."""


def read_gpus(visible: str | None = None) -> Sequence[Gpu]:
    """Returns the devices that `visible` names, in its order. `visible` is the value of CUDA_VISIBLE_DEVICES (indices
    or UUIDs), None for all. Returns an empty sequence if nvidia-smi is missing or reports nothing: some containers lack
    it, and parts of a device (MIG) have no figures.
    """
    try:
        output = subprocess.run(  # noqa: S603  # a fixed command
            QUERY, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(output.stdout, visible)


def parse_gpus(output: str, visible: str | None = None) -> Sequence[Gpu]:
    """Parses the lines that QUERY prints: index, UUID, name, MiB in use, MiB free, percent, degrees, watts. A line
    without figures of memory (`[N/A]`) is skipped. As for CUDA, what `visible` names after a device that is not there
    does not count.
    """
    gpus = []
    for line in output.splitlines():
        first, _, rest = line.partition(",")
        uuid, _, rest = rest.partition(",")
        name, *figures = (part.strip() for part in rest.rsplit(",", len(_FIGURES)))
        if len(figures) == len(_FIGURES) and all(figure.isdecimal() for figure in figures[:2]):
            used, free = (int(figure) * 2**20 for figure in figures[:2])
            gpus.append((uuid.strip(), Gpu(first.strip(), name, used + free, used, *map(_number, figures[2:]))))
    if visible is None:
        return tuple(gpu for _, gpu in gpus)
    found = []
    for wanted in map(str.strip, visible.split(",")):
        named = [gpu for uuid, gpu in gpus if wanted and (gpu.id == wanted or uuid.startswith(wanted))]
        if not named:
            break
        found.append(replace(named[0], id=wanted))
    return tuple(found)


def _number(figure: str) -> float | None:
    try:
        return float(figure)
    except ValueError:
        return None
