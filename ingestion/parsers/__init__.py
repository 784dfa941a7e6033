"""Bytes to text, by detected media type, in a limited child process."""
