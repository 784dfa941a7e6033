"""What the audit log gets to hold."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from app.access.caller import Caller, Token
from app.access.trail import REFUSALS_A_FLUSH, Recorder, Trail
from app.errors import Forbidden
from ingestion.access.audit_log import AuditEntry
from ingestion.errors import CatalogUnavailable, DocumentNotFound
from retrieval.errors import CollectionNotFound


class Log:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.away = False

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        if self.away:
            raise CatalogUnavailable("The database does not answer.")
        self.entries += entries


def trail_of(log: Log, caller: Caller | None = None) -> tuple[Recorder, Trail]:
    recorder = Recorder(lambda: log)  # type: ignore[arg-type,return-value]
    caller = caller or Caller("key_1", frozenset({"search"}), ("kiln_*",))
    return recorder, Trail(recorder, caller, address="10.0.0.7", request="DELETE /documents/a")


def told(log: Log) -> list[tuple[object, ...]]:
    return [(each.key_id, each.address, each.action, each.outcome, each.collection, each.count) for each in log.entries]


async def test_an_action_is_recorded_with_its_outcome() -> None:
    log = Log()
    _, trail = trail_of(log)
    async with trail.action("documents.ingest", "kiln_logs") as recorded:
        recorded.subject, recorded.count = "job", 3
    with pytest.raises(DocumentNotFound):
        async with trail.action("document.delete", "kiln_logs", "a"):
            raise DocumentNotFound("There is none.")
    assert told(log) == [
        ("key_1", "10.0.0.7", "documents.ingest", "ok", "kiln_logs", 3),
        ("key_1", "10.0.0.7", "document.delete", "document_not_found", "kiln_logs", 1),
    ]
    assert (log.entries[0].subject, log.entries[1].document_id) == ("job", "a")


async def test_whom_a_token_names_is_recorded() -> None:
    log = Log()
    recorder, trail = trail_of(log, Caller("key_1").with_token(Token("ada", ("board",))))
    await trail.export("document.export", "kiln_logs", "a")
    trail.refused(Forbidden.code, "kiln_logs")
    await recorder.flush()
    assert [(each.action, each.token_subject) for each in log.entries] == [
        ("document.export", "ada"),
        ("request", "ada"),
    ]


@pytest.mark.parametrize(
    ("scopes", "collection", "error"),
    [(("ingest",), "kiln_logs", Forbidden), (("search",), "glazes", CollectionNotFound)],
)
async def test_a_refusal_is_recorded_once(scopes: tuple[str, ...], collection: str, error: type[Exception]) -> None:
    log = Log()
    recorder, trail = trail_of(log)
    with pytest.raises(error):
        async with trail.action("document.delete", collection, "a"):
            trail.require(*scopes, collection=collection)  # type: ignore[arg-type]
    assert log.entries == []  # nobody waits for it
    await recorder.flush()
    [entry] = log.entries
    assert (entry.action, entry.outcome, entry.collection) == ("request", error.code, collection)  # type: ignore[attr-defined]
    assert entry.subject == "DELETE /documents/a"


async def test_a_flood_of_refusals_fills_neither_memory_nor_disk() -> None:
    log = Log()
    recorder, trail = trail_of(log)
    for _ in range(1000):
        trail.refused("unauthorized")
    await recorder.flush()
    assert [each.count for each in log.entries] == [*[1] * REFUSALS_A_FLUSH, 1000 - REFUSALS_A_FLUSH]
    await recorder.flush()
    assert sum(each.count for each in log.entries) == 1000


async def test_refusals_wait_for_a_database_that_is_away() -> None:
    log = Log()
    recorder, trail = trail_of(log)
    log.away = True
    trail.refused("unauthorized")
    await recorder.flush()
    log.away = False
    await recorder.flush()
    assert len(log.entries) == 1


async def test_what_cannot_be_recorded_is_not_given_away_but_a_change_stays_done() -> None:
    log = Log()
    _, trail = trail_of(log)
    log.away = True
    with pytest.raises(CatalogUnavailable):
        await trail.export("document.export", "kiln_logs", "a")
    with capture_logs() as logs:
        async with trail.action("document.delete", "kiln_logs", "a"):
            pass
    assert [(each["log_level"], each["action"]) for each in logs] == [("error", "document.delete")]
