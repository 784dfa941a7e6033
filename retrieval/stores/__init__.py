"""Vector databases that implement the port `VectorStore`, one folder per SDK."""
