"""What worker processes count for their node: each sends the increments of its counters, and the node adds them to its
own. Gauges stay out, and so do the calls of models, which the node counts when it computes them.
"""

from collections.abc import Iterator

import orjson
import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Sample

log = structlog.get_logger()

SAMPLES_A_LINE = 1000
"""More changes wait for the next line."""
MAX_SAMPLES = 20_000
"""Samples that the node keeps of its worker processes: some twenty times what one has. Labels have fixed values."""
_PARTS = ("tandem_ingest_", "tandem_parser_", "tandem_store_", "tandem_blobs_")

_Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Names of the metric and of the sample, and the labels."""


class Increments:
    """The counters of this process, as lines of what was added to them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._sent: dict[_Key, float] = {}

    def line(self) -> bytes:
        """Returns a JSON array of [metric, sample, labels, increment] for the samples that are new or have grown since
        the last line, and a line feed; the line feed alone if there are none.
        """
        changes: list[tuple[str, str, dict[str, str], float]] = []
        for key, value in _counted(self._registry):
            before = self._sent.get(key)
            if value == before:
                continue
            if len(changes) == SAMPLES_A_LINE:
                break
            self._sent[key] = value
            changes.append((key[0], key[1], dict(key[2]), value - (before or 0.0)))
        return (orjson.dumps(changes) if changes else b"") + b"\n"


class SharedRegistry(CollectorRegistry):
    """The metrics of this process, to whose counters others have added theirs."""

    def __init__(self) -> None:
        super().__init__()
        self._reported: dict[_Key, float] = {}

    def add(self, line: bytes) -> None:
        """Adds one line of `Increments`. A line that is none is logged and left out; so are samples beyond
        MAX_SAMPLES.
        """
        if not line.strip():
            return
        try:
            changes = [
                ((str(metric), str(sample), tuple(sorted(labels.items()))), float(increment))
                for metric, sample, labels, increment in orjson.loads(line)
            ]
        except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
            log.warning("metrics of a worker process cannot be read", bytes=len(line))
            return
        for key, increment in changes:
            if key in self._reported or len(self._reported) < MAX_SAMPLES:
                self._reported[key] = self._reported.get(key, 0.0) + increment

    def collect(self) -> Iterator[Metric]:
        reported: dict[str, dict[_Key, float]] = {}
        for key, value in self._reported.items():
            reported.setdefault(key[0], {})[key] = value
        for metric in super().collect():
            added = reported.get(metric.name, {})
            metric.samples = [
                each._replace(value=each.value + added.pop(_key(metric, each), 0.0)) for each in metric.samples
            ]
            metric.samples += [Sample(name, dict(labels), value) for (_, name, labels), value in added.items()]
            yield metric


def _counted(registry: CollectorRegistry) -> Iterator[tuple[_Key, float]]:
    for metric in registry.collect():
        if metric.type in ("counter", "histogram") and metric.name.startswith(_PARTS):
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    yield _key(metric, sample), sample.value


def _key(metric: Metric, sample: Sample) -> _Key:
    return metric.name, sample.name, tuple(sorted(sample.labels.items()))
