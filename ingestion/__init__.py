"""Turns files into chunks and vectors in the store. Builds on `retrieval`; knows no HTTP."""
