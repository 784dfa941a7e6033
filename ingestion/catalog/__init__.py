"""The relational record of collections, documents and jobs (SQLite and PostgreSQL)."""
