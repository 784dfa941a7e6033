"""Connections, bodies and requests in flight, all within bounds."""
