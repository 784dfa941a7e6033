"""What happens to a claimed document: parse, chunk, embed, upsert, prune, read back."""
