from contextlib import suppress

import pytest

from ingestion.errors import ParseFailed
from ingestion.intake.budget import Budget, IntakeLimits
from ingestion.intake.mail import read_outlook_parts
from ingestion.parsers.detect import MSG, detect
from ingestion.parsers.mail.outlook import read_outlook
from tests.support.files.ole import attachment, forwarded, message, ole, recipient

DAYS = 154_618
"""From 1601 to the 1st of May 2024."""
LIMITS = IntakeLimits(documents=10, document_bytes=10_000, unpacked_bytes=50_000)
INNER = message({"0037": "Inner", "1000": "Inner text."}, attachment(0, "deep.txt", b"deep"), header=24)
MAIL = message(
    {"0037": "报价 12", "1000": "请看附件。\r\n", "0C1A": "Lin", "5D01": "lin@example.org", "0E04": "Wang; Sun"},
    attachment(0, "a/报价.txt", b"offer" * 1000),
    attachment(1, "logo.png", b"x", hidden=True),
    forwarded(2, INNER),
    recipient(0, "wang@example.org", 1),
    recipient(1, "sun@example.org", 2),
    sent=DAYS,
)


async def html(source: str) -> str:
    return source.replace("<b>", "").replace("</b>", "")


async def test_headers_text_names_of_attachments_and_forwarded_messages() -> None:
    data = ole(MAIL)
    assert detect(data, filename="a.msg") == MSG
    found = await read_outlook(data, html)
    assert found.title == "报价 12"
    assert found.text == (
        "Subject: 报价 12\nFrom: Lin <lin@example.org>\nTo: Wang; Sun\nDate: Wed, 01 May 2024 00:00:00 +0000\n"
        "Attachments: a_报价.txt\n\n请看附件。\n\nSubject: Inner\nAttachments: deep.txt\n\nInner text."
    )


async def test_html_is_read_where_there_is_no_plain_text() -> None:
    found = await read_outlook(ole(message({"0037": "x", "1013": b"<b>caf\xe9</b>"})), html)
    assert found.text == "Subject: x\n\ncafé"


async def test_a_text_that_is_not_read_is_reported() -> None:
    found = await read_outlook(ole(message({"0037": "x", "1009": b"LZFu"})), html)
    assert found.report.warnings == (
        "The text of the message is kept as RTF alone, which is not read. Save the message as EML.",
    )


def test_attachments_and_metadata() -> None:
    found = read_outlook_parts(ole(MAIL), Budget(LIMITS))
    assert [(part.name, len(part.data)) for part in found.attached] == [("a_报价.txt", 5000), ("deep.txt", 4)]
    assert found.metadata == {
        "from": "lin@example.org",
        "to": ["wang@example.org"],
        "cc": ["sun@example.org"],
        "date": "2024-05-01T00:00:00+00:00",
    }


@pytest.mark.parametrize("cut", range(600, 9000, 370))
async def test_cut_files_fail_cleanly(cut: int) -> None:
    data = ole(MAIL)[:cut]
    read_outlook_parts(data, Budget(LIMITS))
    with suppress(ParseFailed):
        await read_outlook(data, html)
