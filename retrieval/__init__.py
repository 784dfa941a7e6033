"""The kernel: text to vectors, vectors to candidates, candidates to a ranked answer. Knows no HTTP and no files."""
