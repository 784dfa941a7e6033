"""One module per resource; each is a thin face over a service."""
