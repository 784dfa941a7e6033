"""Models on servers that are operated elsewhere, in the dialect of each kind of server."""
