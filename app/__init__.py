"""The application: HTTP interface, command line, settings and wiring. Builds on `ingestion` and `retrieval`."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The folder that contains this package, in which its programs are started."""
