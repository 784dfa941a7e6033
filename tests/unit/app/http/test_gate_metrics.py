"""What the gate decides, as Prometheus reads it."""

from app.http.telemetry import Metrics
from retrieval.device.gate import Gate, GateOptions


def _value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


async def test_they_are_the_gate_s_state_of_now() -> None:
    gate, metrics = Gate(GateOptions(slice_tokens=100)), Metrics()
    metrics.watch(gate)
    assert _value(metrics, "tandem_gate_bulk_bound_tokens") == 200
    turn = await gate.turn([60, 60])
    with gate.interactive():
        assert _value(metrics, "tandem_gate_interactive_calls") == 1
        assert _value(metrics, "tandem_gate_bulk_tokens") == 60
    gate.end(turn, measured=True)
    assert _value(metrics, "tandem_gate_interactive_calls") == 0
    assert _value(metrics, "tandem_gate_bulk_tokens") == 0
    assert _value(metrics, "tandem_gate_bulk_bound_tokens") == 25
