"""What comes in before it is accepted: files that hold others become several documents, and metadata of their own is
read."""
