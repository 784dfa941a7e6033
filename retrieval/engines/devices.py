"""Which accelerator this machine has, without loading what would use it."""

from pathlib import Path
from typing import Literal

Device = Literal["cuda", "npu", "cpu"]

_DEVICE_FILES: tuple[tuple[Device, str], ...] = (("cuda", "nvidia[0-9]*"), ("npu", "davinci[0-9]*"))


def find_device(dev: Path = Path("/dev")) -> Device:
    """By the device files that drivers create. `dev`: where they are looked for."""
    return next((device for device, pattern in _DEVICE_FILES if any(dev.glob(pattern))), "cpu")
