"""The program of Milvus Lite's own process: the server, and the repairs to its code."""
