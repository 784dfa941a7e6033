"""Extracts text from bytes, by detected media type, in a limited child process."""
