"""Child processes of a node: their environment, their health, and their restart."""
