"""What the gate decides, as Prometheus reads it."""

from app.telemetry.metrics import Metrics
from retrieval.device.devices import Device, Devices
from retrieval.device.gate import Gate, GateOptions
from tests.support.models.fake_engines import FakeEngine


def _value(metrics: Metrics, name: str, device: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"device": device})


async def test_they_are_each_gate_s_state_of_now() -> None:
    first, second, metrics = Gate(GateOptions(slice_tokens=100)), Gate(GateOptions(slice_tokens=50)), Metrics()
    metrics.watch(Devices([Device("0", first), Device("1", second)]))
    assert _value(metrics, "tandem_gate_bulk_bound_tokens", "0") == 200
    turn = await first.turn([60, 60])
    with first.interactive():
        assert _value(metrics, "tandem_gate_interactive_calls", "0") == 1
        assert _value(metrics, "tandem_gate_bulk_tokens", "0") == 60
    first.end(turn, measured=True)
    assert _value(metrics, "tandem_gate_interactive_calls", "0") == 0
    assert _value(metrics, "tandem_gate_bulk_tokens", "0") == 0
    assert _value(metrics, "tandem_gate_bulk_bound_tokens", "0") == 25
    assert _value(metrics, "tandem_gate_bulk_bound_tokens", "1") == 100
    # The slice waited for nothing, and computed for as long as the search's call did.
    assert _value(metrics, "tandem_gate_bulk_wait_seconds_count", "0") == 1
    assert _value(metrics, "tandem_gate_interactive_shared_seconds_count", "0") == 1
    assert (_value(metrics, "tandem_gate_interactive_shared_seconds_sum", "0") or 0) > 0
    assert _value(metrics, "tandem_gate_interactive_shared_seconds_count", "1") == 0
    last = {"device": "0", "le": "+Inf"}
    assert metrics.registry.get_sample_value("tandem_gate_interactive_shared_seconds_bucket", last) == 1


async def test_a_device_is_up_while_all_of_its_engines_serve() -> None:
    metrics, engine = Metrics(), FakeEngine()
    metrics.watch(Devices([Device("0", Gate()), Device("1", Gate(), engines={"reranker": engine})]))
    engine.failure, engine.restarts = "died", 2
    assert [_value(metrics, "tandem_device_up", device) for device in "01"] == [1, 0]
    assert [_value(metrics, "tandem_device_engine_restarts_total", device) for device in "01"] == [0, 2]
