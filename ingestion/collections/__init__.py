"""Collections: their names, their life, the vectors that they hold, and their move to another model."""
