"""The embedder of another node, over HTTP."""
