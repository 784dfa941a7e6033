"""The accelerators that engines of this process may use, and their memory, as the vendors' own programs tell it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from app.settings import cuda_visible_devices, visible_npus
from retrieval.device.detect import Device, find_device
from retrieval.device.npu_smi import Npu, read_npus
from retrieval.device.nvidia_smi import read_gpus
from retrieval.device.planner import DeviceMemory
from retrieval.engines.vllm.ascend import is_310p, memory_for_programs
from retrieval.errors import DeviceUnknown


def read_device(parts: int = 1) -> DeviceMemory | None:
    """Memory, as it is now, of the accelerator that engines of this process would use; where models are split into
    `parts`, of that one of theirs which has the least to give. None where there is none, or nothing tells. Blocks.
    Raises ConfigurationError where ASCEND_RT_VISIBLE_DEVICES is wrong."""
    read = _READERS.get(find_device())
    devices = read() if read else ()
    if not devices:
        return None
    least = min(devices[:parts], key=lambda device: device.usable_bytes)
    return replace(least, count=len(devices))


def npus() -> tuple[Npu, ...]:
    """That this process may use. Raises DeviceUnknown, ConfigurationError."""
    return read_npus(visible_npus())


def npu_chip() -> str | None:
    """Name of the chip that engines run on; None if npu-smi does not tell, which is no reason not to try."""
    try:
        return npus()[0].name
    except DeviceUnknown:
        return None


def _gpu_memory() -> Sequence[DeviceMemory]:
    return [DeviceMemory(gpu.total_bytes, gpu.used_bytes, gpu.name) for gpu in read_gpus(cuda_visible_devices())]


def _npu_memory() -> Sequence[DeviceMemory]:
    """None of a 310P, on which vllm-ascend sizes every cache by what all of its engines together have taken, and not by
    what a plan says (#14275): there engines take the shares that settings say."""
    with suppress(DeviceUnknown):
        return [memory_for_programs(npu) for npu in npus() if not is_310p(npu.name)]
    return ()


_READERS: Mapping[Device, Callable[[], Sequence[DeviceMemory]]] = {"cuda": _gpu_memory, "npu": _npu_memory}
"""By kind of device. A CPU has none: its engines share the memory of the machine with everything else."""
