"""The HTTP interface: routes, schemas, limits, errors and telemetry."""
