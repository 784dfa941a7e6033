"""Requests and answers that the documentation shows for OpenAI's routes."""
