"""Expands uploads before they are accepted: files that contain others become several documents, and their own metadata
is read.
"""
