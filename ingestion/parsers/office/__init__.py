"""Office documents, read from their XML."""
