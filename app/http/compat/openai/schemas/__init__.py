"""The schemas of OpenAI's embeddings, files and vector stores."""
