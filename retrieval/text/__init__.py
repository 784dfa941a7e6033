"""What the models read: prompts, passages and token ids."""
