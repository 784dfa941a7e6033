"""API keys, the random keys of the installation, and the audit log."""
