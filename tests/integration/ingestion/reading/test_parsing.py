"""Parsing in real child processes: documents of every type, limits, crashes, and the end of the parent."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from ingestion.errors import (
    EncryptedDocument,
    MediaTypeMismatch,
    NoText,
    ParseFailed,
    ParseLimit,
    ParserUnavailable,
    UnsupportedMediaType,
)
from ingestion.parsers import detect as types
from ingestion.parsers import process
from ingestion.parsers.child_process import ParserLimits
from ingestion.parsers.detect import detect
from ingestion.parsers.process import ProcessParser
from ingestion.pipeline.document_chunks import ChunkingPlan, layout, plan_for
from ingestion.types import Chunking, Document, Page, ParsedDocument
from retrieval.errors import EmptyText, TandemError
from retrieval.types import DocumentId
from tests.support.files import documents
from tests.support.models.fake_models import FakeEmbedder, word_tokenizer
from tests.support.waiting import until

SAMPLES = Path(__file__).resolve().parents[5] / "shared" / "docs"
EXPECTED = json.loads((SAMPLES / "expect.json").read_text()) if SAMPLES.is_dir() else {}
GOOD = sorted(name for name in EXPECTED if name.startswith("good/"))
BAD = sorted(name for name in EXPECTED if name.startswith("bad/"))
LIMITS = ParserLimits(seconds=30, memory_bytes=2**30)
BOMB = documents.pdf_of_streams([b"BT /F1 12 Tf 72 720 Td (hello) Tj ET " * 6_000_000])
PAGES = documents.pdf(["The first page tells of apples.", "The second page tells of pears."], title="Fruit")


@pytest_asyncio.fixture(scope="module")
async def parser() -> AsyncIterator[ProcessParser]:
    parser = ProcessParser(LIMITS, processes=1, ocr=False)
    await parser.start()
    yield parser
    await parser.close()


@pytest_asyncio.fixture
async def fresh() -> AsyncIterator[ProcessParser]:
    """A pool of one, to be mistreated."""
    parser = ProcessParser(replace(LIMITS, seconds=2), processes=1)
    await parser.start()
    yield parser
    await parser.close()


def squeezed(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text) if char.isalnum())


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def limits(pid: int, name: str) -> set[str]:
    """The soft and the hard one."""
    (line,) = [line for line in proc(pid, "limits").split("\n") if line.startswith(name)]
    return set(line.removeprefix(name).split()[:2])


def descriptors(pid: int) -> set[int]:
    return {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def alive(pid: int) -> bool:
    try:
        status = proc(pid, "stat")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def until_gone(pids: list[int]) -> None:
    await until(lambda: not any(map(alive, pids)))


class TestTypes:
    async def test_pdf_with_pages_and_title(self, parser: ProcessParser) -> None:
        document = await parser.parse(PAGES, types.PDF)
        assert document.title == "Fruit"
        assert [page.number for page in document.pages] == [1, 2]
        assert document.text[: document.pages[1].start].strip() == "The first page tells of apples."
        assert document.text[document.pages[1].start :] == "The second page tells of pears."

    async def test_word(self, parser: ProcessParser) -> None:
        data = documents.word(["段落一。", "cafe\u0301"], heading="Heading", title="Properties' title")
        document = await parser.parse(data, types.DOCX)
        assert document == ParsedDocument("# Heading\n\n段落一。\n\ncafé", types.DOCX, "Properties' title")

    async def test_slides_come_once_each_with_its_number(self, parser: ProcessParser) -> None:
        document = await parser.parse(documents.slides(["Alpha", "Beta"]), types.PPTX)
        assert document.text.count("Alpha") == document.text.count("Beta") == 1
        assert [page.number for page in document.pages] == [1, 2]
        assert "Beta" in document.text[document.pages[1].start :]

    async def test_sheets_come_once_each_under_its_name(self, parser: ProcessParser) -> None:
        data = documents.workbook({"One": [["name", "size"], ["apple", "3"]], "Two": [["pear"]], "Empty": []})
        document = await parser.parse(data, types.XLSX)
        assert document.text == ("## One\n\n| name | size |\n| --- | --- |\n| apple | 3 |\n\n## Two\n\npear")
        assert document.pages == (Page(1, 0), Page(2, document.text.index("## Two")))

    async def test_epub(self, parser: ProcessParser) -> None:
        document = await parser.parse(documents.book(["It was a dark night.", "The end."], title="Novel"), types.EPUB)
        assert document.title == "Novel"
        assert document.text.index("It was a dark night.") < document.text.index("The end.")

    @pytest.mark.parametrize(
        ("data", "media_type", "text"),
        [
            (documents.word(["cafe\u0301"], heading="Heading"), types.DOCX, "# Heading\n\ncafé"),
            (documents.slides(["cafe\u0301"]), types.PPTX, "café"),
            (documents.workbook({"S": [["cafe\u0301"]]}), types.XLSX, "## S\n\ncafé"),
            ("<h1>Heading</h1><p>cafe\u0301</p>".encode(), types.HTML, "# Heading\n\ncafé"),
        ],
        ids=["docx", "pptx", "xlsx", "html"],
    )
    async def test_characters_are_composed_and_the_structure_stays(
        self, parser: ProcessParser, data: bytes, media_type: str, text: str
    ) -> None:
        assert (await parser.parse(data, media_type)).text == text

    async def test_attached_archives_are_not_opened(self, parser: ProcessParser) -> None:
        attached = base64.encodebytes(documents.archive({"inner.txt": "hidden words"})).decode()
        mail = (
            "From: a@example.org\nSubject: Hello\nMIME-Version: 1.0\n"
            'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nThe body.\n--b\n'
            'Content-Type: application/zip\nContent-Disposition: attachment; filename="a.zip"\n'
            f"Content-Transfer-Encoding: base64\n\n{attached}\n--b--\n"
        )
        document = await parser.parse(mail.encode(), types.EML)
        assert "The body." in document.text
        assert "hidden words" not in document.text

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "gb18030", "big5"])
    async def test_html_in_any_encoding(self, parser: ProcessParser, encoding: str) -> None:
        source = (
            f'<html><head><meta charset="{encoding}"><title>標題 &amp; more</title></head><body><h1>Heading</h1>'
            '<script>x()</script><p>正文 <a href="/there">here</a> <a href="https://example.org">there</a></p></body>'
        )
        document = await parser.parse(source.encode(encoding), types.HTML)
        assert document.title == "標題 & more"
        assert document.text == "# Heading\n\n正文 here [there](https://example.org)"

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"])
    @pytest.mark.parametrize("media_type", [types.TEXT, types.CSV, types.MARKDOWN])
    async def test_text_in_any_encoding(self, parser: ProcessParser, encoding: str, media_type: str) -> None:
        text = "部门,问题\n心血管科,高血压患者能吃党参吗？\n"
        document = await parser.parse(text.encode(encoding), media_type)
        assert document == ParsedDocument(text.strip(), media_type)

    async def test_big5_text(self, parser: ProcessParser) -> None:
        text = "通用領域繁體中文機器閱讀理解資料集"
        assert (await parser.parse(text.encode("big5"), types.TEXT)).text == text

    async def test_text_is_normalized_alike_in_the_child_and_without_it(self, parser: ProcessParser) -> None:
        text = "一行\r\n\0二行 \t\n\n\n\n\n\n三\x1b行\u2028e\u0301\n"
        ways = [await parser.parse(text.encode(encoding), types.TEXT) for encoding in ("utf-8", "utf-16")]
        assert {way.text for way in ways} == {"一行\n二行\n\n\n三行\né"}
        in_child = await parser.parse("Über\r\n\x1bétage \t\nnaïve\n".encode("cp1252"), types.TEXT)
        assert in_child.text == "Über\nétage\nnaïve"

    @pytest.mark.parametrize(
        ("data", "media_type", "text"),
        [
            (b'{"t": "\\u4e2d\\u6587 \\ud800"}', types.JSON, "t: 中文"),
            (b'{"a": 1}\n{"a": 2}\n', types.JSONL, "a: 1\n\na: 2"),
            ('<?xml version="1.0" encoding="gbk"?><a><b>正文</b></a>'.encode("gbk"), types.XML, "# a\n\n## b\n\n正文"),
            (b"{\\rtf1\\ansi Plain words.\\par}", types.RTF, "Plain words."),
            (b"From: a@example.org\r\nSubject: Hello\r\n\r\nThe body.\r\n", types.EML, None),
        ],
    )  # fmt: skip
    async def test_other_text_formats(
        self, parser: ProcessParser, data: bytes, media_type: str, text: str | None
    ) -> None:
        document = await parser.parse(data, media_type)
        assert document.text == text if text else "The body." in document.text


class TestChunking:
    @pytest.mark.parametrize("title", ["", "A title of its own"])
    async def test_documents_are_chunked_where_they_are_read(self, parser: ProcessParser, title: str) -> None:
        embedder = FakeEmbedder(max_tokens=60)
        text = "# Kilns\n\n" + "The kiln is held at 1280 degrees for an hour.\n\n" * 2000
        for data, media_type in (
            (text.encode(), types.MARKDOWN),
            (documents.word(["Some words of it."] * 50), types.DOCX),
        ):
            document = Document(
                "docs", DocumentId("d"), "0" * 64, len(data), media_type, title, chunking=Chunking(48, 8)
            )
            here = await parser.parse(data, media_type)
            there = await parser.parse(data, media_type, plan_for(document, embedder))
            assert here.layout is None
            assert there.layout == layout(here, plan_for(document, embedder))
            assert replace(there, layout=None) == here
            assert len(there.layout.spans) > 5

    async def test_another_tokenizer_is_another_chunking(self, parser: ProcessParser) -> None:
        characters = Tokenizer(models.BPE(byte_fallback=False))
        characters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        characters.train_from_iterator(
            ["abc"],
            trainers.BpeTrainer(
                vocab_size=256, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
            ),
        )
        counts = []
        for tokenizer in (word_tokenizer(), characters, word_tokenizer()):
            plan = ChunkingPlan("", tokenizer, 64, Chunking(32, 0))
            done = await parser.parse(b"abcdefgh " * 100, types.TEXT, plan)
            assert done.layout
            counts.append(len(done.layout.spans))
        assert counts[0] == counts[2] < counts[1]


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "media_type", "error"),
        [
            (b" \n\t ", types.TEXT, NoText),
            (documents.workbook({"Empty": []}), types.XLSX, NoText),
            (documents.pdf_of_streams([b"0 0 100 100 re f"]), types.PDF, NoText),
            (documents.protected_office(), types.DOCX, EncryptedDocument),
            (PAGES[:300], types.PDF, ParseFailed),
            (documents.word(["x"])[:5000], types.DOCX, ParseFailed),
            (b"not a zip", types.ODT, ParseFailed),
            (documents.archive({"word/document.xml": bytes(300_000_000)}), types.DOCX, ParseLimit),
        ],
        ids=["blank", "empty sheet", "picture", "password", "cut pdf", "cut docx", "no zip", "bomb"],
    )
    async def test_documents_without_readable_text(
        self, parser: ProcessParser, data: bytes, media_type: str, error: type[ParseFailed]
    ) -> None:
        with pytest.raises(ParseFailed) as caught:
            await parser.parse(data, media_type)
        assert type(caught.value) is error
        assert (await parser.parse(PAGES, types.PDF)).title == "Fruit"

    async def test_text_beyond_the_limit(self) -> None:
        parser = ProcessParser(replace(LIMITS, text_chars=100), processes=1)
        await parser.start()
        try:
            for data, media_type in ((b"word " * 50, types.TEXT), (documents.word(["word " * 50]), types.DOCX)):
                with pytest.raises(ParseLimit, match="100 characters"):
                    await parser.parse(data, media_type)
        finally:
            await parser.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
class TestProcesses:
    async def test_a_crashed_child_costs_one_document(self, fresh: ProcessParser) -> None:
        (pid,) = fresh.pids
        os.kill(pid, signal.SIGSTOP)
        parsing = asyncio.create_task(fresh.parse(PAGES, types.PDF))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(ParseFailed, match="crashed"):
            await parsing
        assert (await fresh.parse(PAGES, types.PDF)).title == "Fruit"
        assert pid not in fresh.pids

    async def test_a_killed_child_costs_nothing(self, fresh: ProcessParser) -> None:
        (pid,) = fresh.pids
        os.kill(pid, signal.SIGSTOP)
        parsing = asyncio.create_task(fresh.parse(PAGES, types.PDF))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert (await parsing).title == "Fruit"
        assert pid not in fresh.pids

    async def test_a_document_whose_children_are_killed_twice_fails(self, fresh: ProcessParser) -> None:
        (pid,) = fresh.pids
        os.kill(pid, signal.SIGSTOP)
        parsing = asyncio.create_task(fresh.parse(BOMB, types.PDF))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: list(fresh.pids) not in ([], [pid]))
        await until(lambda: limits(fresh.pids[0], "Max file size") == {"0"})
        await asyncio.sleep(0.1)  # it has said that it is ready, and reads for seconds
        os.kill(fresh.pids[0], signal.SIGKILL)
        with pytest.raises(ParseFailed, match="crashed"):
            await parsing

    async def test_a_hung_child_is_replaced_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(process, "HANG_SECONDS", 1)
        parser = ProcessParser(LIMITS, processes=1, ocr=False)
        await parser.start()
        try:
            (pid,) = parser.pids
            os.kill(pid, signal.SIGSTOP)
            assert (await parser.parse(PAGES, types.PDF)).title == "Fruit"
            assert pid not in parser.pids
            await until_gone([pid])
        finally:
            await parser.close()

    async def test_reading_and_chunking_share_one_budget(self) -> None:
        parser = ProcessParser(replace(LIMITS, seconds=1), processes=1)
        await parser.start()
        embedder = FakeEmbedder()
        plan = ChunkingPlan("", embedder.tokenizer, 64, Chunking(32, 8))
        try:
            text = b"<p>" + b"a<br>" * 100_000 + b"</p>"
            read = await parser.parse(text, types.HTML)
            with pytest.raises(ParseLimit, match="1 seconds of processor time"):
                await parser.parse(b"\n".join([b"a b c"] * 2_000_000), types.MARKDOWN, plan)
            assert read.text.count("a") == 100_000
            assert (await parser.parse(PAGES, types.PDF)).title == "Fruit"
        finally:
            await parser.close()

    async def test_a_cancelled_document_ends_with_its_process(self, fresh: ProcessParser) -> None:
        (pid,) = fresh.pids
        reading = asyncio.create_task(fresh.parse(BOMB, types.PDF))
        await asyncio.sleep(0.1)
        assert not reading.done()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until_gone([pid])

    async def test_a_child_that_died_idle_costs_nothing(self, fresh: ProcessParser) -> None:
        (pid,) = fresh.pids
        os.kill(pid, signal.SIGKILL)
        await until_gone([pid])
        assert (await fresh.parse(PAGES, types.PDF)).title == "Fruit"

    async def test_a_cancelled_document_does_not_answer_the_next(self, fresh: ProcessParser) -> None:
        other = documents.pdf(["Another text."], title="Other")
        parsing = asyncio.create_task(fresh.parse(other, types.PDF))
        await asyncio.sleep(0)
        parsing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parsing
        assert (await fresh.parse(PAGES, types.PDF)).title == "Fruit"

    async def test_memory_is_limited(self) -> None:
        parser = ProcessParser(replace(LIMITS, memory_bytes=400 * 2**20), processes=1)
        await parser.start()
        try:
            with pytest.raises(ParseLimit, match="memory"):
                await parser.parse(BOMB, types.PDF)
            assert (await parser.parse(PAGES, types.PDF)).title == "Fruit"
        finally:
            await parser.close()

    async def test_children_are_reused_and_replaced(self) -> None:
        parser = ProcessParser(replace(LIMITS, documents_per_process=2), processes=1)
        await parser.start()
        pids = []
        try:
            for _ in range(4):
                pids.append(list(parser.pids))
                await parser.parse(PAGES, types.PDF)
        finally:
            await parser.close()
        assert pids[0] == pids[1] != []
        assert pids[2] == []
        assert pids[3] not in ([], pids[0])

    async def test_a_child_that_has_grown_is_replaced(self) -> None:
        parser = ProcessParser(replace(LIMITS, recycle_bytes=200 * 2**20), processes=1)
        await parser.start()
        try:
            await parser.parse(PAGES, types.PDF)
            assert len(parser.pids) == 1
            await parser.parse(b"<p>word text</p>" * 300_000, types.HTML)
            assert len(parser.pids) == 0
        finally:
            await parser.close()

    async def test_more_documents_than_children(self) -> None:
        parser = ProcessParser(LIMITS, processes=2)
        await parser.start()
        try:
            many = [documents.pdf([f"Text number {number}."]) for number in range(20)]
            parsed = await asyncio.gather(*(parser.parse(data, types.PDF) for data in many))
            assert [document.text for document in parsed] == [f"Text number {number}." for number in range(20)]
            assert len(parser.pids) == 2
        finally:
            await parser.close()

    async def test_closing_ends_children_and_documents(self) -> None:
        parser = ProcessParser(LIMITS, processes=1, ocr=False)
        assert parser.failure
        await parser.start()
        assert parser.failure is None
        (pid,) = parser.pids
        os.kill(pid, signal.SIGSTOP)
        parsing = [asyncio.create_task(parser.parse(PAGES, types.PDF)) for _ in range(2)]
        await asyncio.sleep(0)
        await parser.close()
        await parser.close()
        assert [type(error) for error in await asyncio.gather(*parsing, return_exceptions=True)] == [
            ParserUnavailable
        ] * 2
        assert not alive(pid)
        assert parser.failure
        with pytest.raises(ParserUnavailable):
            await parser.parse(PAGES, types.PDF)

    async def test_children_end_with_a_killed_parent(self) -> None:
        program = (
            "import asyncio, logging, structlog\n"
            "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))\n"
            "from ingestion.parsers.process import ProcessParser\n"
            "async def main():\n"
            "    parser = ProcessParser(processes=2)\n"
            "    await parser.start()\n"
            "    print(*parser.pids, flush=True)\n"
            "    await asyncio.Event().wait()\n"
            "asyncio.run(main())\n"
        )
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        assert parent.stdout
        pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
        assert len(pids) == 2
        os.kill(pids[0], signal.SIGSTOP)  # one that cannot notice that its input ended
        parent.kill()
        await parent.wait()
        await until_gone(pids)

    async def test_a_child_opens_neither_files_nor_connections(self, parser: ProcessParser) -> None:
        (pid,) = parser.pids
        (files,) = limits(pid, "Max open files")
        assert set(range(int(files))) <= descriptors(pid)
        assert limits(pid, "Max file size") == {"0"}

    async def test_a_child_sees_nothing_of_the_environment(self, parser: ProcessParser) -> None:
        (pid,) = parser.pids
        names = {entry.partition("=")[0] for entry in proc(pid, "environ").split("\0") if entry}
        assert names == {
            "PYTHONPATH",
            "PYTHONUTF8",
            "MALLOC_ARENA_MAX",
            "TOKENIZERS_PARALLELISM",
            "OPENBLAS_NUM_THREADS",
        }

    async def test_an_external_entity_is_not_fetched(self, parser: ProcessParser) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            address = f"http://127.0.0.1:{server.getsockname()[1]}/"
            body = "<w:p><w:r><w:t>before &file; &web; after</w:t></w:r></w:p>"
            data = documents.archive(
                {
                    "word/document.xml": (
                        f'<!DOCTYPE d [<!ENTITY file SYSTEM "file:///etc/passwd"><!ENTITY web SYSTEM "{address}">]>'
                        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
                        f"<w:body>{body}</w:body></w:document>"
                    )
                }
            )
            with pytest.raises(ParseFailed):
                await parser.parse(data, types.DOCX)
            page = f'<p>Text <img src="{address}a.png"> <iframe src="{address}"></iframe></p>'
            await parser.parse(page.encode(), types.HTML)
            with pytest.raises(BlockingIOError):
                server.accept()


@pytest.mark.skipif(not EXPECTED, reason="the sample documents are not here")
class TestSamples:
    @pytest.mark.parametrize("name", GOOD)
    async def test_good_documents_hold_what_they_must(self, parser: ProcessParser, name: str) -> None:
        data = (SAMPLES / name).read_bytes()
        document = await parser.parse(data, detect(data, filename=Path(name).name, declared=None))
        text = squeezed(f"{document.title} {document.text}")
        assert [phrase for phrase in EXPECTED[name]["must_contain"] if squeezed(phrase) not in text] == []
        assert unicodedata.is_normalized("NFC", document.text)
        assert "\0" not in document.text

    @pytest.mark.parametrize("name", BAD)
    async def test_bad_documents_fail_cleanly_or_give_bounded_text(self, parser: ProcessParser, name: str) -> None:
        data = (SAMPLES / name).read_bytes()
        refusal: TandemError | None = None
        try:
            document = await parser.parse(data, detect(data, filename=Path(name).name, declared=None))
            assert 0 < len(document.text) <= 10 * len(data)
            document.text.encode()
        except TandemError as error:
            refusal = error
        # A crash of the child would be survived, but is not what these files bring about.
        assert "crashed" not in str(refusal)
        expected = {
            "pdf_user_password_aes256.pdf": EncryptedDocument,
            "pdf_user_password_libreoffice.pdf": EncryptedDocument,
            "docx_password_agile.docx": EncryptedDocument,
            "syn_docx_zip_bomb_512MB.docx": ParseLimit,
            "docx_truncated.docx": ParseFailed,
            "syn_epub_truncated.epub": ParseFailed,
            "zip_droste_recursive.zip": UnsupportedMediaType,
            "odt_not_a_zip.odt": MediaTypeMismatch,
            "syn_docx_named.pdf": MediaTypeMismatch,
            "syn_empty.pdf": EmptyText,
            "syn_whitespace.txt": NoText,
            "docx_external_image_ssrf.docx": type(None),
            "syn_docx_xxe.docx": ParseFailed,
            "syn_docx_billion_laughs.docx": ParseFailed,
            "html_bad_tags.html": type(None),
            "syn_long_line_zh.txt": type(None),
        }
        assert type(refusal) is expected.get(Path(name).name, type(refusal))
        assert (await parser.parse(PAGES, types.PDF)).title == "Fruit"
