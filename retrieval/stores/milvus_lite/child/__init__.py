"""What runs in Milvus Lite's own process: the server, and the repairs to its code."""
