"""What a worker does that finds its lease gone after it has written: a paused process may have overwritten the work of
the one that took over."""

import asyncio
from datetime import UTC, datetime

import structlog

from ingestion.ports import Catalog
from ingestion.types import Collection, DocumentRecord
from retrieval.ports import VectorStore

log = structlog.get_logger()

LOOKS = 60
PAUSE_SECONDS = 1.0


async def settle(catalog: Catalog, store: VectorStore, collection: Collection, mine: DocumentRecord) -> None:
    """Brings the store back to what the catalog says of the document.

    The same version in other hands writes the same chunks, so nothing is wrong. A newer one that is ready is done once
    more, which removes whatever is not its own; one in work is waited for, up to LOOKS looks. Whatever this cannot
    mend, an audit finds.
    """
    document_id = mine.document.id
    for _ in range(LOOKS):
        records = await catalog.documents_named(collection.name, [document_id])
        current = records.get(document_id)
        if current is None:
            await store.prune(collection.store_name, {document_id: ()})
            return
        if (current.version, current.ingested_at) == (mine.version, mine.ingested_at) or current.state == "queued":
            return
        if await catalog.requeue(collection.name, {document_id: current.version}, now=datetime.now(UTC)):
            log.warning("document is done again: a worker wrote to it after its lease had ended", version=mine.version)
            return
        await asyncio.sleep(PAUSE_SECONDS)
