"""The HTTP interface: routes, wire, limits, errors and telemetry."""
