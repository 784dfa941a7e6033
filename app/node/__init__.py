"""The process that owns an accelerator: its parts, their order, their workers."""
