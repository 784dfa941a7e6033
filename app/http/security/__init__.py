"""Who makes a request, and from which page it may come."""
