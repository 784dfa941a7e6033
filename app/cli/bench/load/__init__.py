"""The load of a benchmark: what is ingested and searched, and how it is sent."""
