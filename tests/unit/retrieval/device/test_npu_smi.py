"""npu-smi's table: an A2 (910B), an A3 of two dies a card, a 310P without HBM, and what is no such table."""

import sys
from pathlib import Path

import pytest

from retrieval.device.npu_smi import Npu, parse_npus, read_npus, select_npus
from retrieval.errors import ConfigurationError, DeviceUnknown

GIB = 2**30
MIB = 2**20

A2 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.3                   Version: 25.2.3                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B4-1             | OK            | 95.8        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3418 / 65536         |
+===========================+===============+====================================================+
| 6     910B4-1             | Warning       | 103.1       36                0    / 0             |
| 0                         | 0000:19:00.0  | 87          0    / 0          59356/ 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
+===========================+===============+====================================================+
| 6       0                 | 1712733       | VLLM::EngineCor          | 48954                   |
+===========================+===============+====================================================+
"""

A3 = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3.7               Version: 24.1.rc3.7                                           |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 178.8       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 13          0    / 0          3397 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           37                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3186 / 65536         |
+===========================+===============+====================================================+
| 1     Ascend910           | OK            | 185.4       36                0    / 0             |
| 0     2                   | 0000:99:00.0  | 0           0    / 0          3414 / 65536         |
+===========================+===============+====================================================+
"""

DUO_310P = """\
+--------------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                                   Version: 25.2.0                                       |
+-------------------------------+-----------------+------------------------------------------------------+
| NPU     Name                  | Health          | Power(W)     Temp(C)           Hugepages-Usage(page) |
| Chip    Device                | Bus-Id          | AICore(%)    Memory-Usage(MB)                        |
+===============================+=================+======================================================+
| 2       310P3                 | OK              | NA           45                0     / 0             |
| 0       0                     | 0000:01:00.0    | 0            1529 / 44280                            |
+-------------------------------+-----------------+------------------------------------------------------+
| 2       310P3                 | OK              | NA           43                0     / 0             |
| 1       1                     | 0000:01:00.0    | NA           1412 / 43693                            |
+===============================+=================+======================================================+
"""


def test_an_a2_has_one_chip_a_card_and_its_processes_are_no_chips() -> None:
    idle, busy = parse_npus(A2)
    assert idle == Npu(
        id=0,
        chip=0,
        name="910B4-1",
        health="OK",
        temperature=41.0,
        power=95.8,
        aicore_percent=0.0,
        hbm_used_bytes=3418 * MIB,
        hbm_total_bytes=64 * GIB,
        device=0,
    )
    assert (busy.id, busy.device, busy.health, busy.aicore_percent) == (6, 1, "Warning", 87.0)
    assert busy.hbm_free_bytes == (65536 - 59356) * MIB


def test_an_a3_has_two_dies_a_card_and_the_second_tells_no_power() -> None:
    npus = parse_npus(A3)
    assert [(npu.id, npu.chip, npu.device) for npu in npus] == [(0, 0, 0), (0, 1, 1), (1, 0, 2)]
    assert {npu.name for npu in npus} == {"Ascend910"}
    assert [npu.power for npu in npus] == [178.8, None, 185.4]
    assert [npu.temperature for npu in npus] == [36.0, 37.0, 36.0]


def test_a_310p_has_its_memory_in_the_column_before() -> None:
    first, second = parse_npus(DUO_310P)
    assert (first.name, first.hbm_used_bytes, first.hbm_total_bytes) == ("310P3", 1529 * MIB, 44280 * MIB)
    assert (second.chip, second.power, second.aicore_percent) == (1, None, None)


def test_a_column_of_hbm_that_is_empty_is_passed_over() -> None:
    card = A2.replace("0    / 0          3418 / 65536", "1460 / 44280      0    / 0    ")
    assert parse_npus(card)[0].hbm_total_bytes == 44280 * MIB


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no chip"),
        ("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n", "lists no chip"),
        (A2[: A2.index("| 0                         |")], "at chip 0: ' |  | '"),  # the second row is not there
        (A2.replace("| 0                         | 0000:C1:00.0", "| 7     910B3               | OK"), "at chip 0: '7"),
        (A2.replace("59356/ 65536", "N/A / N/A   "), "at chip 1: '0 | 0000:19:00.0 | 87          0    / 0"),
        (A2.replace("0     910B4-1", "0     ???    "), "at chip 0: '0     ??? | OK"),
        (A2.replace("103.1       36                0    / 0", " " * 36), "at chip 1: '6     910B4-1 | Warning"),
        (A2[: A2.index("3418 / 65") + 9], "cut off"),
    ],
)
def test_what_is_no_such_table_is_told_with_the_line(text: str, words: str) -> None:
    with pytest.raises(DeviceUnknown) as failure:
        parse_npus(text)
    assert words in failure.value.message


def test_only_visible_chips_are_seen_in_the_order_they_are_named() -> None:
    npus = parse_npus(A3)
    assert select_npus(npus, None) == npus
    assert [npu.device for npu in select_npus(npus, (2, 0))] == [2, 0]
    with pytest.raises(ConfigurationError, match=r"names device 3, but npu-smi lists 3, counted from 0"):
        select_npus(npus, (0, 3))


def program(folder: Path, body: str) -> str:
    path = folder / "npu-smi"
    path.write_text(f"#!{sys.executable}\nimport os, sys\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_program_is_asked_for_its_table_in_english(tmp_path: Path) -> None:
    asked = f"assert sys.argv[1:] == ['info'] and os.environ['LC_ALL'] == 'C'\nprint({A3!r})"
    assert [npu.device for npu in read_npus((1,), program=program(tmp_path, asked))] == [1]


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    body = "sys.exit('libdrvdsmi_host.so: cannot open\\nshared object file')"
    with pytest.raises(DeviceUnknown, match=r"status 1: libdrvdsmi_host\.so: cannot open shared object file"):
        read_npus(program=program(tmp_path, body))


def test_a_program_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceUnknown, match="no-such-npu-smi was not found"):
        read_npus(program="no-such-npu-smi")
    damaged = tmp_path / "npu-smi"
    damaged.write_bytes(b"\x7fELF")
    damaged.chmod(0o755)
    with pytest.raises(DeviceUnknown, match="cannot be run"):
        read_npus(program=str(damaged))


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.device.npu_smi._TIMEOUT_SECONDS", 0.05)
    with pytest.raises(DeviceUnknown, match="did not answer"):
        read_npus(program=program(tmp_path, "sys.stdin.close(); os.read(os.pipe()[0], 1)"))
