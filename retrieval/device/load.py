"""What an accelerator is doing now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """None stands for what the device does not measure."""

    device: str
    """Name in the vendor's variable (CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES)."""
    name: str
    memory_used_bytes: int
    """Memory that all programs use."""
    memory_total_bytes: int
    utilization: float | None = None
    """Part of the time in which it computed, in [0, 1]."""
    temperature_celsius: float | None = None
    power_watts: float | None = None
