"""Quality: judged collections, TREC measures, significance, and the self-test at start."""
