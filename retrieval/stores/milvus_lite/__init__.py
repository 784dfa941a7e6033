"""Milvus Lite, embedded: a child process of the node, the repairs to its code, and its supervision."""
