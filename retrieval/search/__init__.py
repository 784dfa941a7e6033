"""A search: recall, fusion, reranking, and the hits of the answer."""
