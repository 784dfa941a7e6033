"""OpenAI's embeddings, files and vector stores."""
