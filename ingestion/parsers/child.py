"""The child process of ingestion.parsers.process: reads documents from standard input, answers on standard output.

Frames: four bytes of length (big endian), a JSON object, then the bytes that the object announces. Request:
`{"media_type", "plan", "tokenizer", "size", "ocr", "ocr_state", "boilerplate"}` with as many bytes of a tokenizer
(0: the one before) and of the document; `plan`: null or `[title, window, section_prefix, max_tokens, overlap]`. Reply:
`{"title", "pages", "layout", "report", "size", "peak_bytes"}` with the text in UTF-8, or
`{"error", "message", "size": 0, "peak_bytes"}`, or `{"ocr_needed": true, "size": 0, "peak_bytes"}`; `layout`: null or
`{"title", "spans"}` with the fields of each ChunkSpan; `report`: the fields of a ReadingReport. The first frame,
`{"ready": [restrictions]}`, is sent once they and the limits hold.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import struct
import sys
from dataclasses import asdict, astuple
from itertools import starmap
from typing import Any, BinaryIO

from tokenizers import Tokenizer

from ingestion.errors import ParseFailed, ParseLimit
from ingestion.parsers.child_process import CLOCK_FACTOR
from ingestion.parsers.detect import HTML
from ingestion.parsers.pages.ocr import Ocr
from ingestion.parsers.pages.ocr_state import OcrLimits
from ingestion.parsers.pages.reader import OcrNeeded, PageReader
from ingestion.parsers.registry import Reader, ReadOptions, readers
from ingestion.parsers.sandbox import restrict
from ingestion.parsers.xberg import configuration
from ingestion.pipeline.document_chunks import ChunkingPlan, layout
from ingestion.types import Chunking, Page, ParsedDocument

_PR_SET_PDEATHSIG = 1
_FIRST_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj "
    b"4 0 obj<</Length 45>>stream\nBT /F 20 Tf 9 9 Td (ready) Tj ET 0 0 m 9 9 l S\nendstream endobj "
    b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>"
)
_PEAK = re.compile(rb"VmHWM:\s*(\d+) kB")


def main(arguments: list[str]) -> None:
    """Serves until standard input ends. Arguments: processor seconds and MiB per document, characters of text, parent's
    pid, pages and seconds of OCR (0 pages: a process without OCR)."""
    seconds, memory_mib, max_chars, parent, ocr_pages, ocr_seconds = map(int, arguments)
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the whole group; the parent decides
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the frames
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(2, 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    config = configuration(seconds=CLOCK_FACTOR * seconds, max_chars=max_chars)
    memory = _Memory()
    pages = PageReader(Ocr() if ocr_pages else None, OcrLimits(ocr_pages, ocr_seconds))
    by_type = readers(config, pages)
    pages.read_pdf(_FIRST_PDF, "always", "off")  # imports and opens whatever reading one does
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))  # opens what an event loop needs
        restrictions = restrict()
        _die_with(parent)  # again: another user's process no longer would
        # The first extraction starts threads and opens what they need; afterwards nothing is opened any more.
        runner.run(by_type[HTML](b"<p>ready</p>", ReadOptions()))
        _limit(memory_mib)
        for standard in range(3):  # so far the parent learns there why a start fails; what is printed later may be text
            os.dup2(nowhere, standard)
        _send(replies, {"ready": restrictions, "size": 0})
        tokenizer: Tokenizer | None = None
        while (request := _receive(requests)) is not None:
            header, vocabulary, data = request
            try:
                tokenizer = Tokenizer.from_buffer(vocabulary) if vocabulary else tokenizer
                _limit_cpu(seconds + ocr_seconds)
                parsed = runner.run(_read(data, header, by_type[header["media_type"]]))
                reply, text = _answer(parsed, header["plan"], tokenizer, max_chars)
            except MemoryError:
                reply, text = _refusal(ParseLimit("Reading the document takes more memory than allowed.")), b""
            except ParseFailed as error:
                reply, text = _refusal(error), b""
            except OcrNeeded:
                reply, text = {"ocr_needed": True}, b""
            _send(replies, reply | {"size": len(text), "peak_bytes": memory.peak()}, text)


async def _read(data: bytes, header: dict[str, Any], reader: Reader) -> ParsedDocument:
    result = await reader(data, ReadOptions(header["ocr"], header["ocr_state"], header["boilerplate"]))
    return ParsedDocument(
        result.text, header["media_type"], result.title, tuple(starmap(Page, result.pages)), report=result.report
    )


def _answer(
    parsed: ParsedDocument, plan: list[Any] | None, tokenizer: Tokenizer | None, max_chars: int
) -> tuple[dict[str, object], bytes]:
    if len(parsed.text) > max_chars:
        raise ParseLimit(f"The document's text has more than {max_chars:,} characters. Split the document.")
    chunked: dict[str, object] | None = None
    if plan and tokenizer:
        title, window, section_prefix, *chunking = plan
        done = layout(parsed, ChunkingPlan(title, tokenizer, window, Chunking(*chunking), section_prefix))
        chunked = {"title": done.title, "spans": list(map(astuple, done.spans))}
    pages = [(page.number, page.start) for page in parsed.pages]
    reply: dict[str, object] = {"title": parsed.title, "pages": pages, "layout": chunked}
    reply["report"] = asdict(parsed.report)
    return reply, parsed.text.encode()


def _refusal(error: ParseFailed) -> dict[str, object]:
    return {"error": error.code, "message": error.message}


class _Memory:
    """Peak of this process's memory, in bytes."""

    def __init__(self) -> None:
        # getrusage will not do on Linux: it starts from the peak of the parent, whose engines occupy many GiB.
        self._status = os.open("/proc/self/status", os.O_RDONLY) if sys.platform == "linux" else None

    def peak(self) -> int:
        if self._status is None:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        match = _PEAK.search(os.pread(self._status, 4096, 0))
        assert match
        return int(match[1]) * 1024


def _die_with(parent: int) -> None:
    """Has Linux kill this process when its parent ends, however it ends; on other systems the end of input ends it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _limit(memory_mib: int) -> None:
    """Limits this process: its memory, no core file, no writes to files, and no new descriptor, neither file nor
    socket.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20,) * 2)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))


def _limit_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes, bytes] | None:
    """Returns the request, the tokenizer if a new one comes with it, and the document."""
    length = stream.read(4)
    if len(length) < 4:
        return None
    header = json.loads(_take(stream, struct.unpack(">I", length)[0]))
    return header, _take(stream, header["tokenizer"]), _take(stream, header["size"])


def _take(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        sys.exit(0)  # the parent went away in the middle of a request
    return data


def _send(stream: BinaryIO, header: dict[str, object], body: bytes = b"") -> None:
    encoded = json.dumps(header).encode()
    stream.write(struct.pack(">I", len(encoded)))
    stream.write(encoded)
    stream.write(body)
    stream.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1:])
