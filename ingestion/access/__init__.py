"""Who may do what: stored keys, tenants that share a collection, and the record of who did what."""
