"""Authorisation of callers: their keys, the view of the node that each gets, and the record of their actions."""
