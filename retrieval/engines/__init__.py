"""Implementations of the ports `Embedder` and `Reranker`, one file per kind of engine."""
