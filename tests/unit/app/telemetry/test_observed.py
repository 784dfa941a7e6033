"""What the metrics say of calls of the node's parts."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from tokenizers import Tokenizer

from app.telemetry.metrics import Metrics
from app.telemetry.observed import ObservedEmbedder, ObservedReranker, Telemetry
from app.telemetry.tracing import Tracing
from ingestion.errors import ParseFailed
from ingestion.types import Claim, DocumentError, DocumentRecord, Outcome, WorkerId
from retrieval.device.load import DeviceLoad
from retrieval.errors import EngineDead
from retrieval.text.tokenizer import TokenMemory
from retrieval.types import Embeddings, Lane
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.stores.catalog import LEASE, NOW, a_document


def value(metrics: Metrics, metric: str, /, **labels: str) -> float:
    return metrics.registry.get_sample_value(metric, labels) or 0.0


async def test_models_are_counted_by_lane_with_their_tokens() -> None:
    metrics = Metrics()
    embedder, reranker = (
        ObservedEmbedder(FakeEmbedder(max_tokens=3), Telemetry(metrics, Tracing())),
        ObservedReranker(FakeReranker(), Telemetry(metrics, Tracing())),
    )
    await embedder.start()
    await reranker.start()
    await embedder.embed(["one two", "one two three four"], kind="document", lane=Lane.BULK)
    await reranker.rerank("one", ["one two"], lane=Lane.INTERACTIVE)
    embed, rerank = {"model": "embed", "lane": "bulk"}, {"model": "rerank", "lane": "interactive"}
    assert value(metrics, "tandem_engine_texts_total", **embed) == 2
    assert value(metrics, "tandem_engine_tokens_total", **embed) == 5
    assert value(metrics, "tandem_engine_truncated_tokens_total", **embed) == 1
    assert value(metrics, "tandem_engine_tokens_total", **rerank) == 3
    assert value(metrics, "tandem_engine_calls_total", **rerank, outcome="ok") == 1


async def test_texts_whose_tokens_are_remembered_are_counted(qwen3_tokenizer: Tokenizer) -> None:
    class Remembering(FakeEmbedder):
        memory = TokenMemory(qwen3_tokenizer)

        def count(self, texts: Sequence[str]) -> Sequence[int]:
            return [len(ids) for ids in self.memory.encode(texts)]

        async def embed(self, texts: Sequence[str], **options: Any) -> Embeddings:
            await asyncio.to_thread(self.memory.encode, texts)
            return await super().embed(texts, **options)

    metrics = Metrics()
    embedder = ObservedEmbedder(Remembering(), Telemetry(metrics, Tracing()))
    await embedder.start()
    embedder.count(["one two", "three"])
    await embedder.embed(["one two", "four"], kind="document", lane=Lane.BULK)
    assert value(metrics, "tandem_token_cache_lookups_total", model="embed", result="hit") == 1
    assert value(metrics, "tandem_token_cache_lookups_total", model="embed", result="miss") == 3


async def test_a_call_that_fails_is_counted_by_its_code_and_still_fails() -> None:
    metrics, fake = Metrics(), FakeEmbedder()
    embedder = ObservedEmbedder(fake, Telemetry(metrics, Tracing()))
    await embedder.start()
    fake.fail_with = EngineDead("gone")
    with pytest.raises(EngineDead):
        await embedder.embed(["a"], kind="query", lane=Lane.INTERACTIVE)
    labels = {"model": "embed", "lane": "interactive"}
    assert value(metrics, "tandem_engine_calls_total", **labels, outcome="engine_dead") == 1
    assert value(metrics, "tandem_engine_call_seconds_count", **labels) == 1
    assert value(metrics, "tandem_engine_texts_total", **labels) == 0
    assert embedder.failure == "gone"


async def test_what_is_cancelled_and_what_is_a_defect_have_outcomes_of_their_own() -> None:
    metrics = Metrics()
    telemetry = Telemetry(metrics, Tracing())
    for error, outcome in ((asyncio.CancelledError(), "cancelled"), (ZeroDivisionError(), "internal")):
        with pytest.raises(type(error)), telemetry.call(metrics.store, "search"):
            raise error
        assert value(metrics, "tandem_store_calls_total", operation="search", outcome=outcome) == 1
    with pytest.raises(ParseFailed), telemetry.call(metrics.parser):
        raise ParseFailed("no")
    assert value(metrics, "tandem_parser_calls_total", outcome="parse_failed") == 1


def test_attempts_are_counted_by_how_they_ended() -> None:
    metrics = Metrics()
    record = DocumentRecord(a_document("a"), 1, "processing", 1, 0, 0, 0, NOW, None, None)
    claim = Claim(record, WorkerId("worker"), NOW + LEASE, "token")
    searchable = claim.record.ingested_at + timedelta(seconds=3)
    problem = DocumentError("parse_failed", "what a document says is no label")
    metrics.observe_outcomes(
        [
            Outcome(claim, chunks=5, reused_chunks=2, tokens=40, searchable_at=searchable),
            Outcome(claim, error=problem),
            Outcome(claim, error=DocumentError("engine_dead", ""), retry_at=searchable),
        ]
    )
    for outcome, code in (("ready", ""), ("failed", "parse_failed"), ("retried", "engine_dead")):
        assert value(metrics, "tandem_ingest_outcomes_total", outcome=outcome, code=code) == 1
    assert value(metrics, "tandem_ingest_chunks_total", vectors="reused") == 2
    assert value(metrics, "tandem_ingest_chunks_total", vectors="computed") == 3
    assert value(metrics, "tandem_ingest_document_seconds_sum") == 3
    assert problem.message not in generate_latest(metrics.registry).decode()


def test_devices_that_measure_less_show_less() -> None:
    metrics = Metrics()
    metrics.observe_devices([DeviceLoad("0", "310P3", 5, 10, utilization=0.5)])
    labels = {"device": "0", "name": "310P3"}
    assert value(metrics, "tandem_device_utilization_ratio", **labels) == 0.5
    assert value(metrics, "tandem_device_memory_total_bytes", **labels) == 10
    assert metrics.registry.get_sample_value("tandem_device_temperature_celsius", labels) is None
