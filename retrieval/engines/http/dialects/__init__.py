"""The request and response formats of each kind of model server. Pure, one file per kind."""
