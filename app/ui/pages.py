"""The routers of the pages: those that need a key, and those for signing in."""

from app.ui import account, assets, collections, documents, evaluation, jobs, keys, search, system

PUBLIC_PAGES = (assets.router, account.router)
PAGES = (
    search.router,
    documents.router,
    collections.router,
    jobs.router,
    evaluation.router,
    system.router,
    keys.router,
)
