"""The devices of a node: whose engines serve, and which of them a search is computed on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, Protocol

from retrieval.device.gate import Gate
from retrieval.device.memory_wait import ReadMemory
from retrieval.device.planner import Plan

Role = Literal["embed", "rerank"]
BOTH_ROLES: frozenset[Role] = frozenset({"embed", "rerank"})


class DeviceEngine(Protocol):
    """What a device knows of an engine on it."""

    @property
    def failure(self) -> str | None: ...

    @property
    def responsive(self) -> bool: ...

    @property
    def restarts(self) -> int: ...

    @property
    def pids(self) -> tuple[int, ...]: ...


@dataclass(slots=True, eq=False)
class Device:
    """One accelerator, or the several that each model on it is split over; on a CPU a group of engines."""

    name: str
    """Name in the vendor's numbering: `0`; `0,1` if models are split."""
    gate: Gate
    roles: frozenset[Role] = BOTH_ROLES
    """Roles of the models on it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that show an engine's processes this device and no other."""
    cpu_cores: str | None = None
    """Cores of engines on a CPU, as in EngineOptions."""
    read_memory: ReadMemory | None = None
    """Its own, as it is now."""
    engines: dict[str, DeviceEngine] = field(default_factory=dict)
    """Engines that run on it, by model and role."""

    @property
    def failure(self) -> str | None:
        """Failure of the first of its engines that does not serve."""
        return next((engine.failure for engine in self.engines.values() if engine.failure), None)

    @property
    def responsive(self) -> bool:
        return all(engine.responsive for engine in self.engines.values())

    @property
    def restarts(self) -> int:
        return sum(engine.restarts for engine in self.engines.values())


_CHOSEN: ContextVar[Device | None] = ContextVar("chosen_device", default=None)


class Devices(Sequence[Device]):
    """The devices of a node, at least one."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = tuple(devices)
        self.plan: Plan | None = None
        """The plan of each device's memory that the engines were started with; None if it is not known."""

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # Sequence's two overloads
        return self._devices[index]

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices)

    def holding(self, role: Role) -> Sequence[Device]:
        return [device for device in self._devices if role in device.roles]

    @contextmanager
    def search(self) -> Iterator[None]:
        """Guards a search, as `Gate.search` does, on the device of a reranker that has the least to do: what is
        computed meanwhile in this context goes there for as long as that device serves."""
        device = least_busy(self.holding("rerank"))
        with chosen(device), device.gate.search():
            yield


@contextmanager
def chosen(device: Device) -> Iterator[None]:
    """What is computed in this context goes to `device` where it serves; bulk work goes where there is room."""
    token = _CHOSEN.set(device)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def chosen_device() -> Device | None:
    return _CHOSEN.get()


def least_busy(devices: Sequence[Device]) -> Device:
    """Returns the least busy of the devices that serve, or of all if none does."""
    serving = [device for device in devices if device.failure is None and device.responsive]
    return min(serving or devices, key=lambda device: (device.gate.searches, device.gate.bulk_tokens))
