"""Faces and wiring: HTTP, command line, settings. Builds on `ingestion` and `retrieval`."""
