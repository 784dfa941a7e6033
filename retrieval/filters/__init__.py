"""Filters on chunks: the tree, its parser, and its semantics."""
