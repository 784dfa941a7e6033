"""The outcomes of failed work on a claim."""

from datetime import UTC, datetime

import structlog

from ingestion.types import Claim, DocumentError, Outcome
from retrieval.errors import TandemError

log = structlog.get_logger()


def failure(claim: Claim, error: TandemError, *, written: bool = False) -> Outcome:
    """Returns the outcome of a claim that `error` ended. A retryable one has a `retry_at` of now, which the worker
    postpones. `written` says whether chunks of the document may have reached the store in this attempt.
    """
    log.info("document failed", collection=claim.record.document.collection, code=error.code, retryable=error.retryable)
    return Outcome(
        claim,
        error=DocumentError(error.code, error.message),
        retry_at=datetime.now(UTC) if error.retryable else None,
        written=written,
    )
