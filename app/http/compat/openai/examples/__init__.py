"""Requests and answers of OpenAI's routes, for the documentation."""
