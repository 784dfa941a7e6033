"""The vector store on Milvus: Lite, standalone and cluster through one client."""
