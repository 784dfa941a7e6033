"""Constructs adapters from settings. No other package does."""
