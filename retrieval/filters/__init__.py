"""Conditions on chunks: the tree, how it is parsed, and what it means."""
