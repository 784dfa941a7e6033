"""Identifies the caller of a request, and checks the origin that it comes from."""
