"""Vector databases behind the port `VectorStore`, one file per SDK."""
