"""The Model Context Protocol: one definition of the tools, over the node's services and over its HTTP interface."""
