"""The schemas of requests and answers (pydantic). Unknown fields are refused by name."""
