"""vLLM in processes of the node: one engine to a process."""
