"""The pool of parser processes without processes: turns of long and short documents, and children that fail."""

import asyncio
import errno
import signal
from collections.abc import Callable
from typing import Any

import pytest

from ingestion.errors import ParseFailed, ParseLimit, ParserBusy, ParserUnavailable
from ingestion.parsers import process
from ingestion.parsers.child_process import Answer, Garbage, ParserLimits, Request
from ingestion.parsers.detect import PDF
from ingestion.parsers.pages.ocr_state import OcrState
from ingestion.parsers.process import ProcessParser
from ingestion.types import OcrMode, ParsedDocument, ReadingOptions

LONG, OTHER_LONG, SHORT, SCAN = b"%PDF long", b"%PDF other", b"%PDF short", b"%PDF scan"
Reading = Callable[["FakeChild", Request], Any]


class FakeChild:
    """Answers at once, but for long documents, which wait until `finish` is set."""

    def __init__(self, *, ocr: bool = False) -> None:
        self.ocr = ocr
        self.documents = 0
        self.ended = False
        self.reading: bytes | None = None
        self.finish = asyncio.Event()
        self.used = 0.0
        self.pid = id(self)
        self.fail: Exception | None = None
        self.silent = False
        self.computing = False
        self.start_error: Exception | None = None
        self.state: OcrState | None = None

    async def ready(self) -> None:
        if self.start_error:
            raise self.start_error

    async def ask(self, request: Request) -> Answer:
        self.reading, self.state = request.data, request.ocr_state
        if self.fail:
            raise self.fail
        if self.silent or request.data in (LONG, OTHER_LONG):
            await self.finish.wait()
        if self.ended:
            raise asyncio.IncompleteReadError(b"", 4)
        if request.data == SCAN and request.ocr_state == "ready" and not self.ocr:
            return Answer(None, 0)
        return Answer(ParsedDocument(request.data.decode(), request.media_type), 0)

    def silence(self) -> None:
        self.silent = True

    def compute(self) -> None:
        self.computing = True

    def cpu_seconds(self) -> float:
        self.used += self.computing
        return self.used

    def kill(self) -> None:
        self.ended = True
        self.finish.set()

    async def last_line(self) -> str:
        return ""

    async def wait(self) -> int:
        return -signal.SIGKILL


class Machine:
    """What children are started on. `refuse` is raised instead while it is set; `prepare` is done to each."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.refuse: Exception | None = None
        self.prepare: Callable[[FakeChild], None] = lambda child: None

    async def spawn(self, limits: ParserLimits, *, ocr: bool = False) -> FakeChild:
        del limits
        if self.refuse:
            raise self.refuse
        self.children.append(FakeChild(ocr=ocr))
        self.prepare(self.children[-1])
        return self.children[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(process, "spawn", machine.spawn)
    monkeypatch.setattr(process, "SLICE_SECONDS", 0)
    return machine


async def started(limits: ParserLimits | None = None) -> ProcessParser:
    parser = ProcessParser(limits, processes=1, long_processes=1)
    await parser.start()
    return parser


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_long_document_gives_its_place_to_the_next(machine: Machine) -> None:
    parser = await started()
    long = asyncio.create_task(parser.parse(LONG, PDF))
    await turns()
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    assert not long.done()
    assert len(parser.pids) == 2
    machine.children[0].finish.set()
    assert (await long).text == LONG.decode()
    assert len(parser.pids) == 1


async def test_a_second_long_document_is_stopped_and_comes_again(machine: Machine) -> None:
    parser = await started()
    long = asyncio.create_task(parser.parse(LONG, PDF))
    await turns()
    with pytest.raises(ParserBusy):
        await parser.parse(OTHER_LONG, PDF)
    assert [child.ended for child in machine.children] == [False, True]
    with pytest.raises(ParserBusy):  # without a turn of its own: it is known by now
        await parser.parse(OTHER_LONG, PDF)
    assert len(machine.children) == 2
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    machine.children[0].finish.set()
    await long
    again = asyncio.create_task(parser.parse(OTHER_LONG, PDF))
    await turns()
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    for child in machine.children:
        child.finish.set()
    assert (await again).text == OTHER_LONG.decode()


async def test_a_cancelled_document_is_killed_and_frees_its_place(machine: Machine) -> None:
    parser = await started()
    for document in (LONG, OTHER_LONG):
        long = asyncio.create_task(parser.parse(document, PDF))
        await turns()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        assert machine.children[-1].reading == document
        assert machine.children[-1].ended
        assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    assert len(parser.pids) == 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
    ],
    ids=["memory", "descriptors", "threads"],
)
async def test_a_child_that_cannot_be_started_is_an_outage_that_ends(machine: Machine, error: Exception) -> None:
    parser = await started()
    machine.children[0].ended = True
    machine.refuse = error
    for _ in range(3):
        with pytest.raises(ParserUnavailable):
            await parser.parse(SHORT, PDF)
        assert parser.failure
    assert ParserUnavailable.retryable
    machine.refuse = None
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    assert parser.failure is None


async def test_a_parser_that_does_not_start_says_so(machine: Machine) -> None:
    machine.refuse = OSError(errno.ENOMEM, "Cannot allocate memory")
    with pytest.raises(ParserUnavailable, match="does not start"):
        await started()


async def test_an_answer_without_sense_costs_the_document_and_the_child(machine: Machine) -> None:
    parser = await started()
    machine.children[0].fail = Garbage()
    with pytest.raises(ParseFailed, match="no sense"):
        await parser.parse(SHORT, PDF)
    assert machine.children[0].ended
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()


async def test_a_child_that_hangs_is_replaced_and_the_document_read_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HANG_SECONDS", 0)
    parser = await started()
    machine.children[0].silent = True
    assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
    assert [child.ended for child in machine.children] == [True, False]


async def test_a_document_whose_children_hang_twice_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HANG_SECONDS", 0)
    machine.prepare = FakeChild.silence
    parser = await started()
    with pytest.raises(ParseFailed, match="crashed"):
        await parser.parse(SHORT, PDF)
    assert [child.ended for child in machine.children] == [True, True]


async def test_a_child_that_computes_does_not_hang(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HANG_SECONDS", 0)
    machine.prepare = FakeChild.compute
    parser = await started()
    long = asyncio.create_task(parser.parse(LONG, PDF))
    await turns()
    assert not long.done()
    machine.children[0].finish.set()
    assert (await long).text == LONG.decode()
    assert len(machine.children) == 1


async def test_a_document_that_computes_all_the_time_is_over_its_limit(machine: Machine) -> None:
    machine.prepare = FakeChild.compute
    parser = await started(ParserLimits(seconds=0.001))
    with pytest.raises(ParseLimit, match="seconds of processor time"):
        await parser.parse(LONG, PDF)


class TestOcr:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "is_installed", lambda: True)

    async def test_what_needs_ocr_goes_to_a_child_of_its_own_that_is_kept(self, machine: Machine) -> None:
        parser = await started()
        assert [child.ocr for child in machine.children] == [False]
        for _ in range(2):
            assert (await parser.parse(SCAN, PDF)).text == SCAN.decode()
        assert [child.ocr for child in machine.children] == [False, True]
        assert [child.documents for child in machine.children] == [0, 0]
        assert (await parser.parse(SHORT, PDF)).text == SHORT.decode()
        assert machine.children[0].reading == SHORT

    @pytest.mark.parametrize(
        ("media_type", "mode", "first"),
        [
            ("image/png", "auto", True),
            ("image/png", "never", False),
            (PDF, "auto", False),
            (PDF, "always", True),
            ("text/html", "always", False),
        ],
    )
    async def test_what_surely_needs_ocr_is_not_read_without_it_first(
        self, machine: Machine, media_type: str, mode: OcrMode, first: bool
    ) -> None:
        parser = await started()
        await parser.parse(SHORT, media_type, options=ReadingOptions(ocr=mode))
        assert len(machine.children) == 1 + first
        assert machine.children[-1].reading == SHORT

    async def test_where_ocr_does_not_start_the_document_is_read_without_it(self, machine: Machine) -> None:
        parser = await started()

        def refuse(child: FakeChild) -> None:
            if child.ocr:
                child.start_error = asyncio.IncompleteReadError(b"", 4)

        machine.prepare = refuse
        assert (await parser.parse(SCAN, PDF)).text == SCAN.decode()
        assert machine.children[0].state == "broken"

    async def test_a_node_without_ocr_says_so_to_the_child(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parser = ProcessParser(processes=1, ocr=False)
        await parser.start()
        assert (await parser.parse(SCAN, PDF)).text == SCAN.decode()
        assert machine.children[0].state == "off"
        monkeypatch.setattr(process, "is_installed", lambda: False)
        parser = ProcessParser(processes=1)
        await parser.start()
        assert (await parser.parse(SCAN, PDF, options=ReadingOptions(ocr="always"))).text == SCAN.decode()
        assert machine.children[-1].state == "not_installed"
        assert not any(child.ocr for child in machine.children)
