"""The process that owns an accelerator: its parts, their order, and its workers."""
