"""Connections, bodies and requests in flight, with their limits."""
