"""Reads the NPUs of this machine and their free memory from the output of Huawei's `npu-smi info`.

Its table has two rows for each chip. The first holds NPU and name, health, power, temperature and huge pages, the
second chip, bus, load and memory. Cards of the 910 series have a column of HBM; a 310P has none, and its memory is in
the column before.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shutil import which

from retrieval.errors import ConfigurationError, DeviceUnknown

_TIMEOUT_SECONDS = 30.0
_FOLDERS = "/usr/local/bin:/usr/local/sbin"
"""Folders in which containers mount it, regardless of their PATH."""
_MB = 2**20
"""npu-smi's MB: a card of 64 GiB has 65536."""

_NAMED = re.compile(r"(?P<id>\d+)\s+(?P<name>\S*[A-Za-z]\S*)")
_CHIP = re.compile(r"(?P<chip>\d+)(?:\s+\d+)?")
_LOAD = re.compile(
    r"(?P<aicore>\S+)\s+(?P<memory>\d+)\s*/\s*(?P<memory_total>\d+)(?:\s+(?P<hbm>\d+)\s*/\s*(?P<hbm_total>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Npu:
    """One chip. A card with two dies or chips counts as two."""

    id: int
    """Id of the card in npu-smi's output."""
    chip: int
    """Index within the card."""
    name: str
    """`910B4`, `Ascend910` (A3), `310P3`."""
    health: str
    """`OK`, `Warning`, `Alarm`, `Critical` or `UNKNOWN`."""
    temperature: float | None
    """Degrees Celsius."""
    power: float | None
    """Watts of the card; None on its second die, and where it is not measured."""
    aicore_percent: float | None
    hbm_used_bytes: int
    """Used bytes of the memory that models are loaded into, whatever kind this chip has."""
    hbm_total_bytes: int
    device: int
    """Index among the chips that npu-smi lists, from 0, as ASCEND_RT_VISIBLE_DEVICES counts."""

    @property
    def hbm_free_bytes(self) -> int:
        return self.hbm_total_bytes - self.hbm_used_bytes


def read_npus(visible: Sequence[int] | None = None, *, program: str = "npu-smi") -> tuple[Npu, ...]:
    """Returns the chips that this process may use, at least one, in the order in which engines take them.

    `visible` is the value of ASCEND_RT_VISIBLE_DEVICES, None for all chips. Blocks for up to 30 s. Raises
    DeviceUnknown; ConfigurationError if `visible` names a chip that does not exist.
    """
    path = which(program) or which(program, path=_FOLDERS)
    if path is None:
        raise DeviceUnknown(f"{program} was not found. It is part of Ascend's driver; mount it into the container")
    try:
        done = subprocess.run(  # noqa: S603  # the driver's own program, with fixed arguments
            [path, "info"],
            env={**os.environ, "LC_ALL": "C"},  # some of its headings are translated differently
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceUnknown(f"{path} info did not answer in {_TIMEOUT_SECONDS:.0f} s; look at the driver") from None
    except OSError as error:
        raise DeviceUnknown(f"{path} cannot be run: {error.strerror}") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode:
        reported = " ".join((done.stderr.decode(errors="replace") or text).split())[-200:]
        raise DeviceUnknown(f"{path} info ended with status {done.returncode}: {reported}")
    return select_npus(parse_npus(text), visible)


def parse_npus(text: str) -> tuple[Npu, ...]:
    """Returns every chip of `npu-smi info`, in its order. Raises DeviceUnknown, which quotes the line that could not be
    parsed.
    """
    rows = _device_rows(text)
    found: list[Npu] = []
    for first in rows:
        found.append(_npu(first, next(rows, None), device=len(found)))
    if not found:
        raise DeviceUnknown("npu-smi info lists no chip")
    return tuple(found)


def select_npus(npus: Sequence[Npu], visible: Sequence[int] | None) -> tuple[Npu, ...]:
    """Returns the chips that `visible` names, in its order. Raises ConfigurationError."""
    if visible is None:
        return tuple(npus)
    for device in visible:
        if device >= len(npus):
            raise ConfigurationError(
                f"ASCEND_RT_VISIBLE_DEVICES names device {device}, but npu-smi lists {len(npus)}, counted from 0"
            )
    return tuple(npus[device] for device in visible)


def _device_rows(text: str) -> Iterator[list[str]]:
    """Yields the cells of the rows about chips: rows of three columns, without headings. The table of processes, which
    follows, has four or five columns.
    """
    for line in map(str.strip, text.splitlines()):
        if not line.startswith("|"):
            continue
        if not line.endswith("|"):
            raise DeviceUnknown(f"npu-smi info printed a line that is cut off: {line!r}")
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if len(cells) == 3 and not cells[0].startswith(("NPU", "Chip")):
            yield cells


def _npu(first: list[str], second: list[str] | None, *, device: int) -> Npu:
    named, cells = _NAMED.fullmatch(first[0]), second or ["", "", ""]
    chip, load = _CHIP.fullmatch(cells[0]), _LOAD.fullmatch(cells[2])
    measured = first[2].split()
    if named is None or chip is None or load is None or len(measured) < 2:
        line = " | ".join(first if named is None or len(measured) < 2 else cells)
        raise DeviceUnknown(f"npu-smi info printed an unknown format at chip {device}: {line!r}")
    kind = "hbm" if load["hbm_total"] and int(load["hbm_total"]) else "memory"
    return Npu(
        id=int(named["id"]),
        chip=int(chip["chip"]),
        name=named["name"],
        health=first[1],
        temperature=_number(measured[1]),
        power=_number(measured[0]),
        aicore_percent=_number(load["aicore"]),
        hbm_used_bytes=int(load[kind]) * _MB,
        hbm_total_bytes=int(load[f"{kind}_total"]) * _MB,
        device=device,
    )


def _number(cell: str) -> float | None:
    """Returns None for `-` and `NA`, which mark figures that the chip does not measure."""
    try:
        return float(cell)
    except ValueError:
        return None
