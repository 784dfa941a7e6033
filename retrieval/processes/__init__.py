"""Child processes of a node: their environment, whether they still work, and their restart."""
