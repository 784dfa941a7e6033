"""Documents on their way to the writer: handed on as they are done, stopped where somebody cancels, given back."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ingestion.errors import CatalogUnavailable, NoText
from ingestion.parsers.detect import PDF, TEXT
from ingestion.pipeline import preparation
from ingestion.pipeline.document_chunks import ChunkingPlan, layout
from ingestion.pipeline.preparation import Preparation, Prepared, Turn
from ingestion.types import Claim, Document, DocumentRecord, ParsedDocument, ReadingOptions, WorkerId
from retrieval.types import DocumentId
from tests.support.models.fake_models import FakeEmbedder

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def claim(name: str, media_type: str = PDF) -> Claim:
    document = Document("docs", DocumentId(name), name, 100, media_type, "")
    record = DocumentRecord(document, 1, "processing", 1, 0, 0, 0, NOW, None, None)
    return Claim(record, WorkerId("w"), NOW, token=name)


class FakeCatalog:
    def __init__(self) -> None:
        self.stopped: set[str] = set()
        self.away = False

    async def cancelled(self, claims: Sequence[Claim]) -> set[str]:
        if self.away:
            raise CatalogUnavailable("The database does not answer.")
        return {each.token for each in claims} & self.stopped


class FakeBlobs:
    """An original holds its own name."""

    async def get(self, hashes: Collection[str]) -> Mapping[str, bytes]:
        return {each: each.encode() for each in hashes}


class FakeParser:
    """Reads at once, but for documents that are called `slow…`, which wait for `finish`."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self.finish = asyncio.Event()
        self.begun: list[str] = []
        self.killed: list[str] = []
        self.options: list[ReadingOptions | None] = []

    async def parse(
        self,
        data: bytes,
        media_type: str,
        plan: ChunkingPlan | None = None,
        options: ReadingOptions | None = None,
    ) -> ParsedDocument:
        self.options.append(options)
        name = data.decode()
        self.begun.append(name)
        try:
            if name.startswith("slow"):
                await self.finish.wait()
        except asyncio.CancelledError:
            self.killed.append(name)
            raise
        if name.startswith("blank"):
            raise NoText("The document holds no text.")
        parsed = ParsedDocument(name, media_type)
        return ParsedDocument(name, media_type, layout=layout(parsed, plan)) if plan else parsed


class Bench:
    def __init__(self, processes: int = 1) -> None:
        self.catalog = FakeCatalog()
        self.parser = FakeParser(processes)
        self.turn = Turn()
        self._preparation = Preparation(cast("Any", self.catalog), FakeBlobs(), cast("Any", self.parser))  # type: ignore[arg-type]  # doubles

    def run(self, *claims: Claim) -> Any:
        return self._preparation.run(FakeEmbedder(), claims, self.turn)

    async def names(self, *claims: Claim) -> list[list[str]]:
        """Of the documents and of the failures, part by part."""
        return [names(prepared) async for prepared in self.run(*claims)]


def names(prepared: Prepared) -> list[str]:
    failed = [f"{each.claim.token}: {each.error.code}" for each in prepared.failed if each.error]
    return sorted([each.token for each, _ in prepared.documents] + failed)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "LOOK_SECONDS", 0)


async def test_short_texts_come_first_and_together() -> None:
    bench = Bench()
    claims = [claim("one.pdf"), *(claim(f"{number}.txt", TEXT) for number in range(9)), claim("blank.txt", TEXT)]
    parts = await bench.names(*claims)
    assert parts == [[*(f"{number}.txt" for number in range(9)), "blank.txt: no_text"], ["one.pdf"]]


async def test_a_document_is_read_as_its_request_said() -> None:
    bench = Bench()
    plain, scan = claim("plain"), claim("scan")
    document = replace(scan.record.document, ocr="always", boilerplate="drop")
    await bench.names(plain, replace(scan, record=replace(scan.record, document=document)))
    assert bench.parser.options == [ReadingOptions(), ReadingOptions("always", "drop")]


async def test_what_is_done_does_not_wait_for_what_is_not() -> None:
    bench = Bench(processes=2)
    async with aclosing(bench.run(claim("slow"), claim("a"), claim("b"), claim("blank"))) as parts:
        seen: list[str] = []
        while len(seen) < 3:
            seen += names(await anext(parts))
        assert seen == ["a", "b", "blank: no_text"]
        bench.parser.finish.set()
        assert [names(each) async for each in parts] == [["slow"]]


async def test_no_more_at_a_time_than_the_parser_has_processes() -> None:
    bench = Bench(processes=2)
    async with aclosing(bench.run(*(claim(f"slow {number}") for number in range(5)))) as parts:
        first = asyncio.ensure_future(anext(parts))
        for _ in range(50):
            await asyncio.sleep(0)
        assert bench.parser.begun == ["slow 0", "slow 1"]
        bench.parser.finish.set()
        done = names(await first)
        async for each in parts:
            done += names(each)
    assert sorted(done) == [f"slow {number}" for number in range(5)]


async def test_what_is_cancelled_is_killed() -> None:
    bench = Bench(processes=2)
    bench.catalog.stopped = {"slow 1"}
    async with aclosing(bench.run(claim("slow 0"), claim("slow 1"), claim("a"))) as parts:
        assert names(await anext(parts)) == ["slow 1: cancelled"]
        assert bench.parser.killed == ["slow 1"]
        assert names(await anext(parts)) == ["a"]
        bench.parser.finish.set()
        assert [names(each) async for each in parts] == [["slow 0"]]


async def test_a_catalog_that_is_away_stops_nothing() -> None:
    bench = Bench()
    bench.catalog.away = True
    async with aclosing(bench.run(claim("slow"))) as parts:
        part = asyncio.ensure_future(anext(parts))
        for _ in range(50):
            await asyncio.sleep(0)
        bench.parser.finish.set()
        assert names(await part) == ["slow"]


async def test_closed_early_it_kills_what_is_being_read() -> None:
    bench = Bench(processes=2)
    async with aclosing(bench.run(claim("slow"), claim("a"))) as parts:
        assert names(await anext(parts)) == ["a"]
    assert bench.parser.killed == ["slow"]


async def test_a_turn_that_is_over_begins_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "TURN_SECONDS", 0)
    bench = Bench()
    assert await bench.names(claim("a"), claim("b"), claim("c.txt", TEXT)) == [["c.txt"], ["a"]]
    assert bench.turn.over
    assert await bench.names(claim("d"), claim("e.txt", TEXT)) == [["e.txt"]]
    assert bench.parser.begun == ["c.txt", "a", "e.txt"]
