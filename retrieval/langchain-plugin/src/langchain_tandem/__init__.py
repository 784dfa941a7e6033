"""LangChain components and a client for Tandem, retrieval and reranking in one service."""
