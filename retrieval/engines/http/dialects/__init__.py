"""How each kind of model server is asked, and how its answers are read: pure, one file a kind."""
