"""The wire of OpenAI's embeddings, files and vector stores."""
