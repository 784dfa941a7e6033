"""Models on servers that others run, in the dialect of each kind of server."""
