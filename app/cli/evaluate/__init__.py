"""tandem eval: the quality of a running node on judged collections."""
