"""Whether catalog, vector store and originals agree, and the mending of what does not."""
