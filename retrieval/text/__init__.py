"""The input of the models: prompts, passages and token ids."""
