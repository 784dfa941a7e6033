"""The evaluation pages: runs started here, results of `tandem eval --json`, and what changed between two."""
