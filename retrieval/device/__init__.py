"""The accelerator: what is there, whether models fit its memory, and whose turn it is."""
