"""The interfaces of other products: OpenAI, rerankers, Dify."""
