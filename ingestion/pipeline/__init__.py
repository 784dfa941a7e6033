"""The steps for a claimed document: parse, chunk, embed, upsert, prune, read back."""
