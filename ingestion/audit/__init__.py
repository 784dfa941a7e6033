"""Compares catalog, vector store and originals, and repairs the differences."""
