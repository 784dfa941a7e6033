"""Commands that run or examine parts of the service on this machine."""
