"""The wire: what requests and answers look like (pydantic). Unknown fields are refused by name."""
