"""The accelerators that engines of this process may use, and their memory, as reported by the vendors' own programs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from app.settings import Settings, cuda_visible_devices, visible_npus
from retrieval.device.detect import Device as DeviceKind
from retrieval.device.detect import find_device
from retrieval.device.devices import BOTH_ROLES, Device, Devices, Role
from retrieval.device.gate import Gate, GateOptions
from retrieval.device.load import DeviceLoad
from retrieval.device.npu_smi import Npu, read_npus
from retrieval.device.nvidia_smi import read_gpus
from retrieval.device.planner import DeviceMemory
from retrieval.engines.vllm.ascend import is_310p, memory_for_programs
from retrieval.engines.vllm.options import cores_of_groups
from retrieval.errors import ConfigurationError, DeviceUnknown

VISIBLE: Mapping[DeviceKind, str] = {"cuda": "CUDA_VISIBLE_DEVICES", "npu": "ASCEND_RT_VISIBLE_DEVICES"}
"""The vendors' variables that say which devices a process sees."""


@dataclass(frozen=True, slots=True)
class Place:
    """What one engine of each of `roles` is placed on."""

    devices: tuple[str, ...]
    """As the vendor's variable names them, as many as models are split over. On a CPU, and where nothing tells which
    devices there are, one that stands for all."""
    roles: frozenset[Role]

    @property
    def name(self) -> str:
        return ",".join(self.devices)


def places(settings: Settings) -> tuple[Place, ...]:
    """Returns the placements, at least one. Blocks. Raises ConfigurationError if the settings name devices that do not
    exist, or fewer than models are split over.
    """
    kind, parts = find_device(), settings.parts
    if kind == "cpu":
        groups: list[tuple[str, ...]] = [(str(number),) for number in settings.devices or (0,)]
    else:
        visible = visible_devices() or ("0",)
        wanted = range(len(visible)) if settings.devices is None else settings.devices
        if missing := [number for number in wanted if number >= len(visible)]:
            raise ConfigurationError(
                f"TANDEM_DEVICES names device {missing[0]}, counted from 0, and {len(visible)} are visible here "
                f"({VISIBLE[kind]})"
            )
        names = [visible[number] for number in wanted]
        groups = [tuple(names[start : start + parts]) for start in range(0, len(names) - parts + 1, parts)]
        groups = groups or [tuple(names)]  # too few: the plan says so
    if settings.placement == "both":
        return tuple(Place(group, BOTH_ROLES) for group in groups)
    if len(groups) < 2:
        raise ConfigurationError("TANDEM_PLACEMENT=by-role needs at least two devices (or groups that share a model)")
    embedding = (len(groups) + 1) // 2
    return tuple(
        Place(group, frozenset({"embed"} if number < embedding else {"rerank"})) for number, group in enumerate(groups)
    )


def build_devices(settings: Settings, options: GateOptions) -> Devices:
    """Returns the devices, each with its own gate. Raises the errors of `places`; blocks."""
    kind, found = find_device(), places(settings)
    cores = cores_of_groups(len(found), settings.parts) if kind == "cpu" else [None] * len(found)
    return Devices(
        [
            Device(
                name=place.name,
                gate=Gate(options),
                roles=place.roles,
                environment=_environment(kind, place),
                cpu_cores=own_cores,
                read_memory=partial(read_device, place.devices),
            )
            for place, own_cores in zip(found, cores, strict=True)
        ]
    )


def _environment(kind: DeviceKind, place: Place) -> Mapping[str, str]:
    if kind == "cpu" or not visible_devices():
        return {}
    shown = {VISIBLE[kind]: place.name}
    if kind == "cuda" and cuda_visible_devices() is None:
        shown["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's, whose numbers these are
    return shown


def visible_devices() -> Sequence[str]:
    """Returns the devices that the vendor's variable names; empty on a CPU, or if no program reports them. Blocks."""
    kind = find_device()
    if kind == "cuda":
        found = [gpu.id for gpu in read_gpus(cuda_visible_devices())]
        listed = (cuda_visible_devices() or "").split(",")
        return found or [each.strip() for each in listed if each.strip()]
    if kind == "npu":
        with suppress(DeviceUnknown):
            return [str(npu.device) for npu in npus()]
    return ()


def read_devices() -> Mapping[str, DeviceMemory]:
    """Returns the current memory of the visible devices by name, in their order; empty where no program reports it.
    Blocks. Raises ConfigurationError if ASCEND_RT_VISIBLE_DEVICES is wrong.
    """
    read = _READERS.get(find_device())
    return read() if read else {}


def read_device(devices: Sequence[str] | None = None) -> DeviceMemory | None:
    """Returns the current memory of that one of `devices` with the least free memory; None: of all devices of this
    process. Returns None if there is none, or no program reports it. Blocks. Raises ConfigurationError if
    ASCEND_RT_VISIBLE_DEVICES is wrong.
    """
    among = [memory for name, memory in read_devices().items() if devices is None or name in devices]
    if not among:
        return None
    least = min(among, key=lambda device: device.usable_bytes)
    return replace(least, count=len(among))


def npus() -> tuple[Npu, ...]:
    """Returns the NPUs that this process may use. Raises DeviceUnknown, ConfigurationError."""
    return read_npus(visible_npus())


def npu_chip() -> str | None:
    """Returns the name of the chip that engines run on; None if npu-smi does not report it, in which case the start is
    tried anyway.
    """
    try:
        return npus()[0].name
    except DeviceUnknown:
        return None


def _gpu_memory() -> Mapping[str, DeviceMemory]:
    gpus = read_gpus(cuda_visible_devices())
    return {gpu.id: DeviceMemory(gpu.total_bytes, gpu.used_bytes, gpu.name) for gpu in gpus}


def _npu_memory() -> Mapping[str, DeviceMemory]:
    """Returns nothing for a 310P, on which vllm-ascend sizes every cache by what all of its engines together have
    taken, and not by a plan (#14275): engines take the shares of the settings there.
    """
    with suppress(DeviceUnknown):
        return {str(npu.device): memory_for_programs(npu) for npu in npus() if not is_310p(npu.name)}
    return {}


def read_loads() -> Sequence[DeviceLoad]:
    """Returns the load of the accelerators that this process may use; empty without accelerators. Blocks. Raises
    DeviceUnknown, ConfigurationError."""
    kind = find_device()
    if kind == "cuda":
        return [
            DeviceLoad(
                gpu.id,
                gpu.name,
                gpu.used_bytes,
                gpu.total_bytes,
                _ratio(gpu.utilization_percent),
                gpu.temperature,
                gpu.power,
            )
            for gpu in read_gpus(cuda_visible_devices())
        ]
    if kind == "npu":
        return [
            DeviceLoad(
                str(npu.device),
                npu.name,
                npu.hbm_used_bytes,
                npu.hbm_total_bytes,
                _ratio(npu.aicore_percent),
                npu.temperature,
                npu.power,
            )
            for npu in npus()
        ]
    return ()


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


_READERS: Mapping[DeviceKind, Callable[[], Mapping[str, DeviceMemory]]] = {"cuda": _gpu_memory, "npu": _npu_memory}
"""Functions by kind of device. A CPU has none: its engines share the memory of the machine with everything else."""
