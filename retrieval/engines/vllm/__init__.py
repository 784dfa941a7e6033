"""vLLM in child processes of the node, one engine per process."""
