"""tandem bench: speed and load, measured through a node's HTTP interface."""
