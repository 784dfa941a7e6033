"""Everything that is behind an API key, in the order of the documentation."""

from app.http.compat.dify import routes as dify
from app.http.compat.openai.routes import embeddings, file_batches, files, vector_store_files, vector_stores
from app.http.compat.rerank import routes as rerank
from app.http.routes import audit, collections, documents, embed, ingest, jobs, keys, mcp, reembed, search

GUARDED = (
    ingest.router,
    jobs.router,
    documents.router,
    documents.originals_router,
    collections.router,
    reembed.router,
    audit.router,
    keys.router,
    keys.log_router,
    search.router,
    embed.router,
    embeddings.router,
    files.router,
    vector_stores.router,
    vector_store_files.router,
    file_batches.router,
    rerank.router,
    rerank.cohere_router,
    dify.router,
    mcp.router,
)
