import io
import zipfile
from email.message import EmailMessage

import pytest

from ingestion.errors import TooLarge
from ingestion.intake.budget import IntakeLimits
from ingestion.intake.expansion import Expansion, expand, holds_more
from ingestion.parsers import detect as types
from ingestion.types import Upload
from retrieval.errors import InvalidRequest
from tests.support.files import documents
from tests.support.files.documents import archive

LIMITS = IntakeLimits(documents=10, document_bytes=10_000, unpacked_bytes=50_000)
PDF = documents.pdf(["Some text."])


def mail(**attached: bytes) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "报价", "Lin <lin@example.org>", "a@x.org, B <b@x.org>"
    message["Date"] = "Wed, 01 May 2024 10:00:00 +0800"
    message.set_content("See below.")
    for name, data in attached.items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name.replace("_", "."))
    return message.as_bytes()


def expanded(data: bytes, filename: str, **options: object) -> Expansion:
    upload = Upload(data, filename=filename, partition="p", metadata={"team": "kiln"})
    assert holds_more(upload)
    return expand([upload], LIMITS, **options)  # type: ignore[arg-type]


def ids(expansion: Expansion) -> list[str | None]:
    return [upload.id or upload.filename for upload in expansion.uploads]


def reasons(expansion: Expansion) -> dict[str, str]:
    return {part.name: part.reason for part in expansion.skipped}


def test_every_member_of_an_archive_is_a_document() -> None:
    data = archive({"a.txt": "one", "folder/b.md": "# Two", "c.pdf": PDF, "wrong.pdf": "text"})
    found = expanded(data, "all.zip")
    assert ids(found) == ["all.zip/a.txt", "all.zip/folder/b.md", "all.zip/c.pdf", "all.zip/wrong.pdf"]
    assert [upload.media_type for upload in found.uploads] == [types.TEXT, types.MARKDOWN, types.PDF, types.TEXT]
    assert {upload.partition for upload in found.uploads} == {"p"}
    assert found.uploads[0].metadata == {"part_of": "all.zip", "team": "kiln"}
    assert found.skipped == []


def test_members_that_are_not_read_are_skipped_with_a_reason() -> None:
    data = archive({
        "a.txt": "one", "empty.txt": " ", "run.exe": b"MZ\x90\0" + bytes(90), "big.txt": "x" * 10_001,
        "__MACOSX/._a.txt": "x", ".git/config": "x", "Thumbs.db": "x", "folder/": "",
    })  # fmt: skip
    found = expanded(data, "all.zip")
    assert ids(found) == ["all.zip/a.txt"]
    why = reasons(found)
    assert list(why) == ["all.zip/empty.txt", "all.zip/run.exe", "all.zip/big.txt"]
    assert why["all.zip/empty.txt"] == "It is empty or holds only white space."
    assert "x-msdownload" in why["all.zip/run.exe"]
    assert why["all.zip/big.txt"] == "It has more than 10,000 bytes."


def test_protected_linked_damaged_and_strangely_packed_members() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("a.txt", "one")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        package.writestr(link, "a.txt")
        package.writestr("b.txt", "two", zipfile.ZIP_BZIP2)
        package.writestr("c.txt", "three")
        package.writestr("d.txt", "four")
    data = bytearray(buffer.getvalue())
    data[data.index(b"three")] ^= 1
    entry = data.index(b"PK\x01\x02", data.rindex(b"four"))
    for _ in range(4):  # to the entry of d.txt
        entry = data.index(b"PK\x01\x02", entry + 1)
    data[entry + 8] |= 1
    found = expanded(bytes(data), "all.zip")
    assert ids(found) == ["all.zip/a.txt"]
    assert reasons(found) == {
        "all.zip/link.txt": "It is a link.",
        "all.zip/b.txt": "It is packed in a way that is not read: use the usual ZIP compression.",
        "all.zip/c.txt": "It is damaged: it cannot be unpacked.",
        "all.zip/d.txt": "It is protected by a password.",
    }


def test_paths_stay_within_the_archive_and_names_are_distinct() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for name in ("../../etc/a.txt", "/etc/a.txt", "etc\\a.txt", "etc/./a.txt", "etc//a.txt"):
            package.writestr(name, "one")
    found = expanded(buffer.getvalue(), "all.zip")
    assert ids(found) == [f"all.zip/etc/a{number}.txt" for number in ("", " (2)", " (3)", " (4)", " (5)")]


def test_names_in_the_encoding_of_chinese_systems() -> None:
    data = archive({"AAAAAAAA.txt": "one"}).replace(b"AAAAAAAA", "产品手册".encode("gb18030"))
    assert ids(expanded(data, "all.zip")) == ["all.zip/产品手册.txt"]


def test_archives_in_archives_are_read_three_deep() -> None:
    data = archive({"leaf.txt": "deep"})
    for level in (3, 2, 1):
        data = archive({f"{level}.zip": data, f"{level}.txt": "x"})
    found = expanded(data, "0.zip")
    assert ids(found) == ["0.zip/1.zip/2.zip/3.txt", "0.zip/1.zip/2.txt", "0.zip/1.txt"]
    assert reasons(found) == {"0.zip/1.zip/2.zip/3.zip": "Archives are read 3 levels deep."}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({f"{number}.txt": "x" for number in range(11)}, "more than 10 documents"),
        ({f"{number}.txt": "x" * 9_000 for number in range(6)}, "more than 50,000 bytes unpacked"),
        ({f"{number}.txt": b"\0" * 10_000_000 for number in range(6)}, "more than 50,000 bytes unpacked"),
    ],
)
def test_limits(parts: dict[str, bytes | str], message: str) -> None:
    with pytest.raises(TooLarge, match=message):
        expanded(archive(parts), "all.zip")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive({"run.exe": b"MZ\x90\0" + bytes(90)}), r"holds no document that is read. 'all.zip/run.exe': The doc"),
        (archive({}), "holds no document"),
        (archive({"a.txt": "one"})[:-9], "is damaged: File is not a zip file"),
        (b"PK\x03\x04" + b"PK\x01\x02" * 100_001, "more than 100,000 entries"),
    ],
)
def test_archives_of_which_nothing_is_read_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        expanded(data, "all.zip")


def test_packages_of_other_formats_are_no_archives() -> None:
    upload = Upload(archive({"xl/workbook.bin": b"x", "[Content_Types].xml": "<Types/>"}), filename="book.xlsb")
    assert expand([upload], LIMITS).uploads == [upload]
    docx = Upload(documents.word(["Text."]), filename="a.docx")
    assert expand([docx], LIMITS).uploads == [docx]


def test_attachments_are_documents_and_headers_metadata() -> None:
    found = expanded(mail(offer_pdf=PDF, run_exe=b"MZ\x90\0" + bytes(90)), "mail.eml")
    assert ids(found) == ["mail.eml", "mail.eml/offer.pdf"]
    assert found.uploads[0].metadata == {
        "from": "lin@example.org",
        "to": ["a@x.org", "b@x.org"],
        "date": "2024-05-01T10:00:00+08:00",
        "team": "kiln",
    }
    assert found.uploads[1].metadata == {"part_of": "mail.eml", "team": "kiln"}
    assert found.uploads[1].data == PDF
    assert list(reasons(found)) == ["mail.eml/run.exe"]


def test_mail_in_an_archive_and_an_archive_in_mail() -> None:
    inner = mail(all_zip=archive({"a.txt": "one"}))
    found = expanded(archive({"box/1.eml": inner}), "all.zip")
    assert ids(found) == ["all.zip/box/1.eml", "all.zip/box/1.eml/all.zip/a.txt"]
    assert found.uploads[1].metadata["part_of"] == "all.zip/box/1.eml/all.zip"


def test_attachments_of_forwarded_mail() -> None:
    outer = EmailMessage()
    outer["Subject"] = "Fwd"
    outer.set_content("See below.")
    forwarded = EmailMessage()
    forwarded["Subject"] = "Inner"
    forwarded.set_content("Inner text.")
    forwarded.add_attachment(PDF, maintype="application", subtype="pdf", filename="a/b.pdf")
    outer.add_attachment(forwarded)
    assert ids(expanded(outer.as_bytes(), "mail.eml")) == ["mail.eml", "mail.eml/a_b.pdf"]


def test_attachments_that_are_not_asked_for_are_reported() -> None:
    found = expanded(mail(offer_pdf=PDF), "mail.eml", unpack=False)
    assert ids(found) == ["mail.eml"]
    assert reasons(found) == {"mail.eml/offer.pdf": "This request does not open attachments."}


@pytest.mark.parametrize("data", [b"From: a\nContent-Type: multipart/mixed; boundary=x\n\n--x\n", b"\xff\xfe" * 50])
def test_damaged_mail_stays_one_document(data: bytes) -> None:
    assert ids(expanded(data, "mail.eml")) == ["mail.eml"]


@pytest.mark.parametrize("filling", [b"--x\n\n" * 10_001, b"A: b\n" * 300_000])
def test_mail_that_would_cost_too_much_to_open_stays_one_document(filling: bytes) -> None:
    data = b"Content-Type: multipart/mixed; boundary=x\n" + filling
    found = expanded(data, "mail.eml")
    assert ids(found) == ["mail.eml"]
    assert reasons(found) == {
        "mail.eml": "The message has too many parts or lines for its attachments to be opened."
    }  # fmt: skip


def test_opening_takes_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 9))
    monkeypatch.setattr("ingestion.intake.budget.thread_time", lambda: float(next(clock)))
    with pytest.raises(TooLarge, match="more than 20 seconds of processor time"):
        expanded(archive({f"{number}.txt": "x" for number in range(5)}), "all.zip")


def test_lines_are_documents_where_that_is_asked() -> None:
    data = '{"id": "k1", "title": "Kiln", "text": "hot"}\n\n{"id": 7}\nno json\n{"x": "窑"}\n{"id": "k1"}\n'.encode()
    assert ids(expanded(data, "data.jsonl")) == ["data.jsonl"]
    found = expanded(data, "data.jsonl", split_lines=True)
    assert ids(found) == ["data.jsonl/k1", "data.jsonl/7", "data.jsonl/5", "data.jsonl/k1 (2)"]
    assert found.uploads[0].title == "Kiln"
    assert {upload.media_type for upload in found.uploads} == {types.JSON}
    assert found.uploads[2].data == '{"x": "窑"}'.encode()
    assert reasons(found) == {"data.jsonl/4": "The line is no JSON."}


def test_front_matter_comes_below_given_metadata_and_fits_declared_keys() -> None:
    data = b"---\ntitle: T\nteam: glaze\nyear: soon\ntags: [a]\n---\n# H\n"
    [upload] = expanded(data, "a.md", metadata_keys={"year": "int"}).uploads
    assert upload.metadata == {"team": "kiln", "tags": ["a"]}
    assert upload.data == data
    [plain] = expand([Upload(data, filename="a.txt")], LIMITS).uploads
    assert plain.metadata == {}


def test_places_say_which_upload_a_document_comes_from() -> None:
    uploads = [Upload(b"x", id="1"), Upload(archive({"a.txt": "a", "b.txt": "b"}), id="2"), Upload(b"y", id="3")]
    found = expand(uploads, LIMITS)
    assert found.places == [0, 1, 1, 2]
    assert ids(found) == ["1", "2/a.txt", "2/b.txt", "3"]
