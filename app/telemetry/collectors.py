"""Metrics that are read from their source when Prometheus asks."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.http.limits import Admission
from retrieval.device.devices import Devices
from retrieval.device.durations import BOUNDS, DurationCounts
from retrieval.device.gate import GateState
from retrieval.device.load import DeviceLoad

_GAUGES: Mapping[str, tuple[str, Callable[[GateState], float]]] = {
    "tandem_gate_interactive_calls": ("Calls of searches that compute", lambda state: state.interactive),
    "tandem_gate_bulk_slices": ("Slices of ingestion that compute", lambda state: state.bulk_slices),
    "tandem_gate_bulk_tokens": ("Their tokens", lambda state: state.bulk_tokens),
    "tandem_gate_bulk_bound_tokens": ("Tokens of ingestion that may compute now", lambda state: state.bulk_bound),
    "tandem_gate_bulk_waiting_calls": ("Calls of ingestion that wait for their turn", lambda state: state.bulk_waiting),
    "tandem_gate_bulk_tokens_per_second": (
        "Speed of ingestion without searches",
        lambda state: state.bulk_tokens_per_second,
    ),
    "tandem_gate_interactive_seconds": (
        "Time of a typical call of a search",
        lambda state: state.interactive_seconds,
    ),
}
_COUNTERS: Mapping[str, tuple[str, Callable[[GateState], float]]] = {
    "tandem_gate_bulk_batches": (
        "Slices of ingestion that were given to the engines",
        lambda state: state.bulk_batches,
    ),
    "tandem_gate_bulk_batched_tokens": ("Their tokens", lambda state: state.bulk_batched_tokens),
    "tandem_gate_slices_amid_searches": ("Slices on the guaranteed share", lambda state: state.slices_amid_searches),
}
_HISTOGRAMS: Mapping[str, tuple[str, Callable[[GateState], DurationCounts]]] = {
    "tandem_gate_bulk_wait_seconds": (
        "Time that a slice of ingestion waited for its turn",
        lambda state: state.bulk_waits,
    ),
    "tandem_gate_interactive_shared_seconds": (
        "Time of a search's call in which slices of ingestion computed beside it; it waits for none",
        lambda state: state.interactive_shared,
    ),
}


class DeviceCollector(Collector):
    """Collects, for each device, whether its engines serve, their restarts, and the state of its gate."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("tandem_device_up", "1 while all engines of the device serve", labels=["device"])
        restarts = CounterMetricFamily(
            "tandem_device_engine_restarts", "Engines of the device that came back", labels=["device"]
        )
        for device in self._devices:
            up.add_metric([device.name], device.failure is None)
            restarts.add_metric([device.name], device.restarts)
        yield from (up, restarts)
        states = {device.name: device.gate.state() for device in self._devices}
        for families, kind in ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily)):
            for name, (documentation, value) in families.items():
                family = kind(name, documentation, labels=["device"])
                for device_name, state in states.items():
                    family.add_metric([device_name], value(state))
                yield family
        for name, (documentation, durations) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, documentation, labels=["device"])
            for device_name, state in states.items():
                counts = durations(state)
                bounds = [*map(str, BOUNDS), "+Inf"]
                histogram.add_metric([device_name], list(zip(bounds, counts.at_most, strict=True)), counts.seconds)
            yield histogram


class AdmissionCollector(Collector):
    """What requests have under way, by what bounds it."""

    def __init__(self, admissions: Mapping[str, Admission]) -> None:
        """By the unit that each counts, such as `candidates`."""
        self._admissions = admissions

    def collect(self) -> Iterator[Metric]:
        work = GaugeMetricFamily("tandem_work_in_flight", "Work of requests in flight, by its unit", labels=("unit",))
        bound = GaugeMetricFamily("tandem_work_bound", "Limit of the work in flight", labels=("unit",))
        seconds = GaugeMetricFamily(
            "tandem_work_in_flight_seconds", "Expected time of the work in flight", labels=("unit",)
        )
        for unit, admission in self._admissions.items():
            work.add_metric((unit,), admission.used)
            bound.add_metric((unit,), admission.capacity)
            seconds.add_metric((unit,), admission.seconds)
        yield from (work, bound, seconds)


class LoadCollector(Collector):
    """Load of the accelerators, as it was last read."""

    FIGURES: tuple[tuple[str, str, Callable[[DeviceLoad], float | None]], ...] = (
        ("tandem_device_utilization_ratio", "Part of the time in which it computed", lambda load: load.utilization),
        ("tandem_device_memory_used_bytes", "Memory in use by all programs", lambda load: load.memory_used_bytes),
        ("tandem_device_memory_total_bytes", "Memory of the device", lambda load: load.memory_total_bytes),
        ("tandem_device_temperature_celsius", "Temperature of the device", lambda load: load.temperature_celsius),
        ("tandem_device_power_watts", "Power drawn by the device", lambda load: load.power_watts),
    )

    def __init__(self) -> None:
        self.loads: Sequence[DeviceLoad] = ()

    def collect(self) -> Iterator[Metric]:
        for name, documentation, value in self.FIGURES:
            family = GaugeMetricFamily(name, documentation, labels=("device", "name"))
            for load in self.loads:
                if (measured := value(load)) is not None:
                    family.add_metric((load.device, load.name), measured)
            yield family
