"""What the service says about itself: logs and metrics. Neither holds texts of documents and queries, or secrets."""
