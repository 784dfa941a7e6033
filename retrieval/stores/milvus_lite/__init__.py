"""Milvus Lite, embedded: a child process of the node, what is mended in it, and how it is kept running."""
