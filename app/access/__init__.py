"""What a caller may do: its key, the view of the node that it gets, and the record of what it did."""
