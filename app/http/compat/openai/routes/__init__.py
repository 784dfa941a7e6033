"""The routes of OpenAI's embeddings, files and vector stores."""
