"""The accelerator: detection, whether models fit its memory, and the order in which work is admitted to it."""
