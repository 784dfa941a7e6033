"""What code that has taken over the parser's child can still do, tried from inside the real child."""

import ast
import ctypes
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from ingestion.errors import ParserUnavailable
from ingestion.parsers import child_process
from ingestion.parsers.child_process import ParserLimits
from ingestion.parsers.detect import HTML
from ingestion.parsers.process import ProcessParser
from tests.support.files import documents

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the restrictions are those of Linux")

PROGRAM = """
import os, resource, socket, sys
from ingestion.parsers import child
from ingestion.parsers.assembly import Extraction

readers = child.readers

def with_probe(config, pages):
    async def probe(data, options):
        if not data.startswith(b"PROBE "):
            return await by_type["text/html"](data, options)
        try:
            result = repr(eval(data[6:].decode()))
        except BaseException as error:
            result = repr(f"{type(error).__name__}: {error}")
        return Extraction(result, "", ())

    by_type = readers(config, pages)
    return {**by_type, "text/html": probe}

child.readers = with_probe
child.main(sys.argv[1:])
"""
"""The child with one document type more: Python, which it evaluates."""


NOWHERE = Path(os.devnull).stat().st_rdev


class Probe:
    def __init__(self, parser: ProcessParser, restrictions: list[str]) -> None:
        self.restrictions = restrictions
        self._parser = parser

    @property
    def pid(self) -> int:
        (pid,) = self._parser.pids
        return pid

    def needs(self, restriction: str) -> None:
        if not any(each.startswith(restriction) for each in self.restrictions):
            pytest.skip(f"here the child has only {', '.join(self.restrictions) or 'no restrictions'}")

    @property
    def landlock(self) -> int:
        self.needs("landlock")
        return int(self.restrictions[-1].removeprefix("landlock_"))

    def states_of_threads(self) -> list[list[str]]:
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return [(thread / "status").read_text().split("\n") for thread in threads]

    def descriptors(self) -> list[str]:
        return [str(each.readlink()) for each in Path(f"/proc/{self.pid}/fd").iterdir()]

    async def __call__(self, expression: str) -> object:
        done = await self._parser.parse(f"PROBE {expression}".encode(), HTML)
        return ast.literal_eval(done.text)


@pytest_asyncio.fixture(scope="module")
async def probe() -> AsyncIterator[Probe]:
    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(child_process, "_PROGRAM", ("-P", "-c", PROGRAM))
        parser = ProcessParser(ParserLimits(seconds=30), processes=1)
        await parser.start()
    probe = Probe(parser, logs[-1]["restrictions"])
    # A descriptor is free again, so that the limit on their number is not what denies.
    assert await probe("os.close(0)") is None
    yield probe
    await parser.close()


def test_what_the_kernel_has_is_used(probe: Probe) -> None:
    create_ruleset, version = 444, 1
    found = ctypes.CDLL(None).syscall(create_ruleset, None, ctypes.c_size_t(0), version)
    assert "no_new_privs" in probe.restrictions
    assert (f"landlock_{found}" in probe.restrictions) == (found > 0)


@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "os.listdir('/proc/self/fd')",
        "os.mkdir('/tmp/tandem-parser-probe')",
        "open('/tmp/tandem-parser-probe', 'w').close()",
        "os.open('/dev/null', os.O_WRONLY)",
    ],
)
async def test_no_path_can_be_opened_or_made(probe: Probe, attempt: str) -> None:
    probe.needs("landlock")
    assert str(await probe(attempt)).startswith("PermissionError")


async def test_no_program_can_be_run(probe: Probe) -> None:
    probe.needs("landlock")
    assert await probe("os.spawnv(os.P_WAIT, '/bin/true', ['true'])") == 127
    assert str(await probe("os.execv('/bin/true', ['true'])")).startswith("PermissionError")


async def test_the_environment_of_the_parent_cannot_be_read(probe: Probe) -> None:
    if "user" not in probe.restrictions:
        probe.needs("landlock")
    assert str(await probe("open(f'/proc/{os.getppid()}/environ').read()")).startswith("PermissionError")


async def test_the_parent_cannot_be_signalled(probe: Probe) -> None:
    if "user" not in probe.restrictions and probe.landlock < 6:
        pytest.skip("before version 6, Landlock does not know signals")
    assert await probe("os.getppid()") == os.getpid()
    assert str(await probe("os.kill(os.getppid(), 0)")).startswith("PermissionError")


async def test_tcp_is_denied(probe: Probe) -> None:
    if probe.landlock < 4:
        pytest.skip("before version 4, Landlock does not know TCP")
    for attempt in ("connect(('127.0.0.1', 9))", "bind(('127.0.0.1', 0))"):
        assert str(await probe(f"socket.socket().{attempt}")).startswith("PermissionError")


async def test_no_packet_leaves(probe: Probe) -> None:
    probe.needs("network")
    send = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))"
    assert str(await probe(send)) == "OSError: [Errno 101] Network is unreachable"


@pytest.mark.parametrize("limit", ["NOFILE", "AS", "FSIZE", "CORE"])
async def test_limits_cannot_be_raised(probe: Probe, limit: str) -> None:
    raised = f"resource.setrlimit(resource.RLIMIT_{limit}, (2**40, 2**40))"
    assert str(await probe(raised)).startswith(("ValueError", "PermissionError"))


async def test_root_is_given_up_for_good(probe: Probe) -> None:
    if os.geteuid() == 0:
        probe.needs("user")
        assert await probe("os.getresuid() + os.getresgid()") == (65534,) * 6
        assert await probe("os.getgroups()") == []
        assert str(await probe("os.setuid(0)")).startswith("PermissionError")


async def test_every_thread_is_restricted(probe: Probe) -> None:
    probe.needs("no_new_privs")
    threads = probe.states_of_threads()
    assert len(threads) > 1
    for status in threads:
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        assert "CapPrm:\t0000000000000000" in status


async def test_nothing_but_pipes_and_the_child_itself_is_open(probe: Probe) -> None:
    own = {"pipe", "socket", "/dev/null", f"/proc/{probe.pid}/status", "anon_inode"}
    assert {devices.partition(":")[0] for devices in probe.descriptors()} <= own


async def test_documents_are_read_all_the_same(probe: Probe) -> None:
    done = await probe._parser.parse(
        documents.word(["Words."], heading="Heading"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    )
    assert done.text == "# Heading\n\nWords."


LATE = """
import subprocess, sys
subprocess.Popen(["/bin/sh", "-c", "sleep 0.3; exec >&-; sleep 0.3; echo ImportError: no such library >&2"])
sys.exit("Traceback:")
"""
"""Its exit status is known before its standard output ends, and the last line comes after both."""


@pytest.mark.parametrize("program", ["raise ImportError('no such library')", LATE], ids=["at once", "in two parts"])
async def test_a_child_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(child_process, "_PROGRAM", ("-c", program))
    parser = ProcessParser(processes=1)
    with pytest.raises(ParserUnavailable, match=r"exit status 1.*ImportError: no such library"):
        await parser.start()
    await parser.close()


async def test_a_child_that_is_ready_prints_nowhere(probe: Probe) -> None:
    devices = await probe("[os.fstat(standard).st_rdev for standard in (1, 2)]")
    assert devices == [NOWHERE, NOWHERE]
