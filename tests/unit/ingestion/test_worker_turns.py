"""What a worker does with documents that its batch had no time for, and with those that wait behind long ones."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from ingestion.errors import ParserBusy, ParserUnavailable
from ingestion.notifications import Notifications
from ingestion.pipeline.outcomes import failure
from ingestion.types import Claim, Document, DocumentRecord, Outcome, WorkerId
from ingestion.worker import BUSY_PAUSE, Worker, WorkerOptions
from retrieval.errors import TandemError
from retrieval.types import DocumentId

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LAST_ATTEMPT = 2


def claim(name: str) -> Claim:
    document = Document("docs", DocumentId(name), name, 100, "application/pdf", "")
    record = DocumentRecord(document, 1, "processing", LAST_ATTEMPT, 0, 0, 0, NOW, None, None)
    return Claim(record, WorkerId("w"), NOW, token=name)


class FakeCatalog:
    """Hands out its claims once, then stops the worker."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.worker: Worker | None = None
        self._claims = list(claims)
        self.released: list[str] = []
        self.completed: list[Outcome] = []

    async def claim(self, *_: object, **__: object) -> Sequence[Claim]:
        claims, self._claims = self._claims, []
        if not claims and self.worker:
            self.worker.stop()
        return claims

    async def complete(self, outcomes: Sequence[Outcome]) -> None:
        self.completed += outcomes

    async def release(self, claims: Sequence[Claim], **_: object) -> None:
        self.released += [each.token for each in claims]


class FakePipeline:
    """Ends what it is told to with an error, and has no time for the rest."""

    failure = None

    def __init__(self, errors: dict[str, TandemError]) -> None:
        self._errors = errors

    async def run(self, claims: Sequence[Claim]) -> AsyncGenerator[list[Outcome], None]:
        yield [failure(each, self._errors[each.token]) for each in claims if each.token in self._errors]

    async def withdraw(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        return outcomes


async def worked(names: Sequence[str], errors: dict[str, TandemError]) -> FakeCatalog:
    catalog = FakeCatalog([claim(name) for name in names])
    options = WorkerOptions(batch=9, lease=timedelta(seconds=60), max_attempts=LAST_ATTEMPT)
    notifications = Notifications()
    catalog.worker = Worker(
        WorkerId("w"), cast("Any", catalog), cast("Any", FakePipeline(errors)), options, notifications, Notifications()
    )
    await catalog.worker.run()
    return catalog


async def test_what_a_batch_had_no_time_for_is_given_back() -> None:
    catalog = await worked(["a", "b", "c"], {"b": ParserBusy("It waits.")})
    assert sorted(catalog.released) == ["a", "c"]
    assert [outcome.claim.token for outcome in catalog.completed] == ["b"]


@pytest.mark.parametrize("error", [ParserBusy("It waits."), ParserUnavailable("No process.")])
async def test_waiting_for_the_parser_never_fails_a_document(error: TandemError) -> None:
    catalog = await worked(["a"], {"a": error})
    (outcome,) = catalog.completed
    assert outcome.retry_at
    assert not outcome.counted
    if isinstance(error, ParserBusy):
        assert outcome.retry_at - datetime.now(UTC) < BUSY_PAUSE * 1.5
