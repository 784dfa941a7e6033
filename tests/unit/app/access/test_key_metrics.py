"""Requests by key: bounded, whatever keys come."""

from app.telemetry.metrics import MAX_KEYS, OTHER_KEYS, Metrics


def test_the_first_keys_are_counted_one_by_one_and_the_rest_together() -> None:
    metrics = Metrics()
    for number in range(MAX_KEYS + 5):
        metrics.count_key(f"key_{number}")
    for _ in range(2):
        metrics.count_key("key_0")
        metrics.count_key(f"key_{MAX_KEYS + 1}")

    def counted(key: str) -> float | None:
        return metrics.registry.get_sample_value("tandem_key_requests_total", {"key": key})

    assert (counted("key_0"), counted(f"key_{MAX_KEYS - 1}")) == (3, 1)
    assert (counted(f"key_{MAX_KEYS + 1}"), counted(OTHER_KEYS)) == (None, 7)
