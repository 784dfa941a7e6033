"""Reranking as Jina, Cohere and vLLM serve it."""
