"""Catalog: any order of accepting, claiming and ending work, against a model of a few lines."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingestion.catalog.catalog import SqlCatalog
from ingestion.errors import DocumentBusy, DocumentNotFound
from ingestion.types import Claim, Document, DocumentState, JobId, Outcome, ReceiptStatus
from retrieval.types import DocumentId
from tests.support.stores.catalog import LEASE, NOW, WORKER, a_collection, a_document, failure, success

Result = TypeVar("Result")
Ending = Literal["success", "failure", "retry"]
STATES: dict[Ending, DocumentState] = {"success": "ready", "failure": "failed", "retry": "queued"}
NAMES = st.sampled_from("abc")


@dataclass
class Lease:
    token: str
    version: int
    until: datetime


@dataclass
class ModelDocument:
    text: str
    version: int = 0
    state: DocumentState = "queued"
    attempts: int = 0
    chunks: int = 0
    due_at: datetime = NOW
    lease: Lease | None = None
    cancelled: bool = False

    @property
    def visible_state(self) -> DocumentState:
        return "processing" if self.lease and self.lease.version == self.version else self.state

    def is_due(self, now: datetime) -> bool:
        return self.lease.until <= now if self.lease else self.state == "queued" and self.due_at <= now


@dataclass
class ModelReceipt:
    name: str
    version: int
    status: ReceiptStatus


@dataclass
class Model:
    documents: dict[str, ModelDocument] = field(default_factory=dict)
    receipts: list[list[ModelReceipt]] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)

    def accept(self, texts: list[tuple[str, str]]) -> None:
        last = dict(texts)
        queued: set[str] = set()
        for name, text in last.items():
            document = self.documents.setdefault(name, ModelDocument(text))
            if document.state == "ready" and document.lease is None and document.text == text:
                continue
            queued.add(name)
            document.text, document.state, document.attempts, document.due_at = text, "queued", 0, NOW
            document.version += 1
            document.cancelled = False
        job: list[ModelReceipt] = []
        for position, (name, _) in enumerate(texts):
            status: ReceiptStatus = "queued" if name in queued else "unchanged"
            if name in (later for later, _ in texts[position + 1 :]):
                status = "replaced"
            job.append(ModelReceipt(name, self.documents[name].version, status))
        self.receipts.append(job)

    def lease(self, claim: Claim) -> None:
        document = self.documents[claim.record.document.id]
        document.attempts += 1
        document.lease = Lease(claim.token, document.version, claim.lease_until)

    def held(self, claim: Claim) -> ModelDocument | None:
        document = self.documents.get(claim.record.document.id)
        return document if document and document.lease and document.lease.token == claim.token else None

    def release(self, claim: Claim) -> None:
        if document := self.held(claim):
            assert document.lease
            document.attempts -= document.lease.version == document.version
            document.lease = None

    def complete(self, claim: Claim, ending: Ending, retry_at: datetime) -> None:
        document = self.held(claim)
        if document is None or document.lease is None:
            return
        version, document.lease, had = document.lease.version, None, document.chunks
        current = version == document.version
        if ending == "success":
            document.chunks = version
        if current:
            document.state = STATES[ending]
        if current and ending == "success":
            document.cancelled = False
        if current and ending == "retry":
            document.due_at = document.due_at if document.cancelled else retry_at
            return
        status: ReceiptStatus = "failed" if ending != "success" else "replaced" if had else "ready"
        for receipt in self.queued(claim.record.document.id):
            if receipt.version <= version:
                receipt.status = status if receipt.version == version else "failed"

    def remove(self, claim: Claim) -> bool:
        document = self.held(claim)
        if document is None or document.lease is None:
            return False
        if document.lease.version < document.version:
            document.lease, document.chunks = None, 0
            return False
        for receipt in self.queued(claim.record.document.id):
            receipt.status = "failed"
        del self.documents[claim.record.document.id]
        return True

    def cancel(self, job: int) -> None:
        for receipt in self.receipts[job]:
            if receipt.status != "queued":
                continue
            self.cancelled.add(job)
            document = self.documents[receipt.name]
            if document.version != receipt.version:
                continue
            document.cancelled = True
            if document.lease is None:
                document.state = "failed"
                for ended in self.queued(receipt.name):
                    ended.status = "failed"

    def requeue(self, name: str, version: int, now: datetime) -> bool:
        document = self.documents.get(name)
        if document is None or document.lease or (document.state, document.version) != ("ready", version):
            return False
        document.state, document.attempts, document.due_at = "queued", 0, now
        return True

    def queued(self, name: str) -> list[ModelReceipt]:
        return [
            receipt for job in self.receipts for receipt in job if (receipt.name, receipt.status) == (name, "queued")
        ]


class CatalogMachine(RuleBasedStateMachine):
    claims = Bundle("claims")

    def __init__(self, catalog: SqlCatalog, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.catalog, self.loop = catalog, loop
        self.model, self.now = Model(), NOW
        self.wait(catalog.remove_collection("docs"))
        self.wait(catalog.add_collection(a_collection()))

    def wait(self, call: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(call, self.loop).result()

    @rule(texts=st.lists(st.tuples(NAMES, st.sampled_from(["one", "two"])), max_size=4))
    def accept(self, texts: list[tuple[str, str]]) -> None:
        job = JobId(str(len(self.model.receipts)))
        documents: list[Document] = [a_document(name, text) for name, text in texts]
        told = self.wait(self.catalog.accept(job, "docs", documents))
        self.model.accept(texts)
        assert [(r.document_id, r.version, r.status) for r in told] == self.receipts_of(-1)

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(target=claims, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        due = {name for name, document in self.model.documents.items() if document.is_due(self.now)}
        claims = self.wait(self.catalog.claim(WORKER, limit=limit, lease=LEASE, now=self.now))
        names = {claim.record.document.id for claim in claims}
        assert names <= due
        assert len(claims) == len(names) == min(limit, len(due))
        for claim in claims:
            self.model.documents[claim.record.document.id].state = "queued"
            self.model.lease(claim)
        return multiple(*claims)

    @rule(target=claims, name=NAMES)
    def claim_document(self, name: str) -> Any:
        document = self.model.documents.get(name)
        busy = document is not None and document.lease is not None and document.lease.until > self.now
        try:
            claim = self.wait(self.catalog.claim_document("docs", DocumentId(name), WORKER, lease=LEASE, now=self.now))
        except DocumentNotFound:
            assert document is None
            return multiple()
        except DocumentBusy:
            assert busy
            return multiple()
        assert not busy
        self.model.lease(claim)
        return claim

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        renewed = self.wait(self.catalog.renew([claim], lease=LEASE, now=self.now))
        document = self.model.held(claim)
        assert [claim.lease_until for claim in renewed] == ([self.now + LEASE] if document else [])
        if document and document.lease:
            document.lease.until = self.now + LEASE

    @rule(claim=claims, ending=st.sampled_from(["success", "failure", "retry"]))
    def complete(self, claim: Claim, ending: Ending) -> None:
        retry_at = self.now + timedelta(seconds=20)
        # As many chunks as the version's number tell afterwards which version search finds.
        outcome: Outcome = success(claim, chunks=claim.record.version)
        if ending != "success":
            outcome = failure(claim, retry_at=retry_at if ending == "retry" else None)
        self.wait(self.catalog.complete([outcome]))
        self.model.complete(claim, ending, retry_at)

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        self.wait(self.catalog.release([claim]))
        self.model.release(claim)

    @rule(claim=claims)
    def remove(self, claim: Claim) -> None:
        assert self.wait(self.catalog.remove_document(claim)) == self.model.remove(claim)

    @precondition(lambda self: self.model.receipts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.integers(0, len(self.model.receipts) - 1))
        self.wait(self.catalog.cancel_job(JobId(str(job))))
        self.model.cancel(job)

    @rule(name=NAMES, version=st.integers(1, 3))
    def requeue(self, name: str, version: int) -> None:
        count = self.wait(self.catalog.requeue("docs", {DocumentId(name): version}, now=self.now))
        assert count == self.model.requeue(name, version, self.now)

    @rule(claims=st.lists(claims, max_size=3))
    def ask_what_is_cancelled(self, claims: list[Claim]) -> None:
        told = self.wait(self.catalog.cancelled(claims))
        held = {claim.token: self.model.held(claim) for claim in claims}
        assert told == {
            token
            for token, document in held.items()
            if not (document and document.lease) or (document.cancelled and document.lease.version == document.version)
        }

    @invariant()
    def jobs_agree(self) -> None:
        for job, receipts in enumerate(self.model.receipts):
            ended = all(receipt.status != "queued" for receipt in receipts)
            told = self.wait(self.catalog.job(JobId(str(job))))
            assert (told.ended, told.state == "cancelled") == (ended, ended and job in self.model.cancelled)

    @invariant()
    def documents_agree(self) -> None:
        told = {
            str(record.document.id): (
                record.version,
                record.state,
                record.attempts,
                record.chunks,
                record.cancelled,
            )
            for record in self.wait(self.catalog.documents("docs"))
        }
        assert told == {
            name: (
                document.version,
                document.visible_state,
                document.attempts,
                document.chunks,
                document.cancelled,
            )
            for name, document in self.model.documents.items()
        }

    @invariant()
    def receipts_agree(self) -> None:
        for job in range(len(self.model.receipts)):
            told = self.wait(self.catalog.receipts(JobId(str(job))))
            assert [(r.document_id, r.version, r.status) for r in told] == self.receipts_of(job)

    def receipts_of(self, job: int) -> list[tuple[str, int, str]]:
        return [(receipt.name, receipt.version, receipt.status) for receipt in self.model.receipts[job]]


async def test_behaves_like_the_model(catalog: SqlCatalog) -> None:
    loop = asyncio.get_running_loop()

    class Machine(CatalogMachine):
        def __init__(self) -> None:
            super().__init__(catalog, loop)

    examples = settings(
        max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    await asyncio.to_thread(run_state_machine_as_test, Machine, settings=examples)
