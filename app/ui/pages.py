"""The routers of the pages: those that need a key, and those for signing in."""

from app.ui import account, assets, collections, documents, jobs, keys, search, system
from app.ui.evaluation import pages as evaluation

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
