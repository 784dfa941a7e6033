"""Requests and answers as the documentation shows them, in English and Chinese: one module per resource, each example
under the name that a reader sees."""
