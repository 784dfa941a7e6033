"""The application: HTTP interface, command line, settings and wiring. Builds on `ingestion` and `retrieval`."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""Where Python finds this package: its programs are started there."""
