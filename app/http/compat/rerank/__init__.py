"""Reranking in the formats of Jina, Cohere and vLLM."""
