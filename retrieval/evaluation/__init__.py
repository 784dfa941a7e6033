"""Quality: judged collections, TREC measures, significance tests, and the self-test at start."""
