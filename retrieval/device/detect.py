"""Detects the accelerator of this machine without loading its libraries."""

import os
import shutil
from pathlib import Path
from typing import Literal

Device = Literal["cuda", "npu", "cpu"]

_DEVICE_FILES: tuple[tuple[Device, str], ...] = (("cuda", "nvidia[0-9]*"), ("npu", "davinci[0-9]*"))


def find_device(dev: Path = Path("/dev")) -> Device:
    """Returns the device, detected by the files that drivers create under `dev`."""
    return next((device for device, pattern in _DEVICE_FILES if any(dev.glob(pattern))), "cpu")


def find_compiler() -> str | None:
    """Returns the C++ compiler that models are compiled with for a CPU: the value of CXX, else g++. None if there is
    none.
    """
    return shutil.which(os.environ.get("CXX") or "g++")
