"""Originals, stored by their SHA-256 in a folder or in a bucket."""
