"""What becomes of PDF files: every character once, in the order of a reader. PDFium reads them; nothing is embedded."""

import pytest

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.pdf.document import page_texts, read_pdf
from tests.support.files import documents
from tests.support.files.pdfs import BOLD, chinese, chinese_font, line, pdf, text

WORDS = (
    *("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima"),
    *("mike", "november", "oscar", "papa", "quebec"),
)


def read(data: bytes) -> str:
    return "\n\n".join(page_texts(read_pdf(data).pages))


def lines(x: float, top: float, rows: list[str], *, step: float = 12, size: float = 10) -> str:
    return "".join(text(x, top - step * number, row, size=size) for number, row in enumerate(rows))


def prose(start: int, count: int) -> list[str]:
    """Lines of some forty letters."""
    return [" ".join(WORDS[(start + 3 * row + column) % len(WORDS)] for column in range(6)) for row in range(count)]


class TestCharacters:
    @pytest.mark.parametrize("encoding", ["GBK-EUC-H", "GB-EUC-H", "GBKp-EUC-H"])
    def test_mixed_one_and_two_byte_codes(self, encoding: str) -> None:
        stream = chinese(72, 700, "编号：2024 合计叁万元", encoding="gbk")
        assert read(pdf([stream], fonts={"G": chinese_font(encoding)})) == "编号：2024 合计叁万元"

    @pytest.mark.parametrize(
        ("mapped", "found"),
        [
            ({"a": "𠮷", "b": "野"}, "𠮷野 on 7 𠮷"),
            ({"a": "\x01", "b": "野"}, "野 on 7"),
            ({"a": "-", "b": "\ufffe"}, "-- on 7 -"),
            ({"a": "é", "b": "ﬁ"}, "éfi on 7 é"),
        ],
    )
    def test_characters_that_are_no_single_unit_of_text(self, mapped: dict[str, str], found: str) -> None:
        stream = text(72, 700, "ab", font="F9") + text(100, 700, "on 7") + text(130, 700, "a", font="F9")
        assert read(pdf([stream], mapped=mapped)) == found

    def test_korean_codes(self) -> None:
        stream = chinese(72, 700, "가마 온도를 유지", encoding="cp949")
        assert read(pdf([stream], fonts={"G": chinese_font("KSCms-UHC-H", "Korea1")})) == "가마 온도를 유지"

    def test_single_characters_of_a_font_that_is_not_embedded(self) -> None:
        stream = "".join(chinese(72 + 12 * number, 700, char) for number, char in enumerate("窑炉温度记录"))
        assert read(pdf([stream], fonts={"G": chinese_font("UniGB-UCS2-H")})) == "窑炉温度记录"

    def test_vertical_writing_goes_from_the_right(self) -> None:
        columns = ["窑炉温度保持恒定一小时", "操作员每十分钟记录一次", "停炉以后等待二十四小时"]
        stream = "".join(
            chinese(400 - 24 * column, 700 - 14 * row, char)
            for column, words in enumerate(columns)
            for row, char in enumerate(words)
        )
        assert read(pdf([stream], fonts={"G": chinese_font("UniGB-UCS2-H")})) == "".join(columns)

    def test_a_vertical_font(self) -> None:
        stream = chinese(400, 700, "春风又绿江南岸", font="G") + chinese(370, 700, "明月何时照我还", font="G")
        assert read(pdf([stream], fonts={"G": chinese_font("UniGB-UCS2-V")})) == "春风又绿江南岸明月何时照我还"

    @pytest.mark.parametrize("offset", [0.0, 0.3, 0.6])
    def test_overprinted_bold_is_read_once(self, offset: float) -> None:
        stream = "".join(
            text(72 + 7 * number + shift, 700, char, size=12)
            for number, char in enumerate("300218")
            for shift in (0, offset)
        )
        assert read(pdf([stream])) == "300218"

    def test_letters_that_stand_twice_stay_two(self) -> None:
        assert read(pdf([text(72, 700, "ill, 11:11, coffee, WWW, 0.005", size=9)])) == "ill, 11:11, coffee, WWW, 0.005"

    def test_ligatures_become_their_letters(self) -> None:
        stream = text(72, 700, "dixerent Yxce", font="F9")
        mapped = {char: char for char in "dirent Yce"} | {"x": "ﬀ"}
        assert read(pdf([stream], mapped=mapped)) == "different Yffce"

    def test_writing_from_the_right(self) -> None:
        # As a page draws it: from the left, the last letter first. The number runs the other way.
        shown = "הנש 2024 תב"
        letters = sorted(set(shown) - set(" 2024"))
        codes = {chr(ord("a") + number): letter for number, letter in enumerate(letters)}
        drawn = "".join(next((code for code, letter in codes.items() if letter == char), char) for char in shown)
        data = pdf([text(72, 700, drawn, font="F9")], mapped=codes | {char: char for char in " 2024"})
        assert read(data) == "בת 2024 שנה"

    @pytest.mark.parametrize("angle", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
    def test_turned_pages(self, angle: tuple[int, ...]) -> None:
        a, b, c, d = angle
        rows = ["The kiln is lit at dawn, and it is held", "at nine hundred degrees."]
        stream = "".join(
            f"BT /F1 10 Tf {a} {b} {c} {d} {300 - 12 * row * c} {400 - 12 * row * d} Tm ({words}) Tj ET\n"
            for row, words in enumerate(rows)
        )
        assert read(pdf([stream])) == "The kiln is lit at dawn, and it is held at nine hundred degrees."

    def test_superscripts(self) -> None:
        stream = (
            "BT /F1 10 Tf 72 700 Td (about 10) Tj 7 Tf 4 Ts (6) Tj 10 Tf 0 Ts ( cells and 5 m) Tj 7 Tf 4 Ts (2) Tj ET\n"
        )
        assert read(pdf([stream])) == "about 10^6 cells and 5 m^2"


class TestOrder:
    def test_two_columns_under_a_title(self) -> None:
        title = text(150, 740, "A Title across Both of the Columns", size=18)
        left, right = prose(0, 20), prose(7, 20)
        stream = title
        for row in range(20):  # drawn line by line, across the columns
            stream += text(60, 700 - 12 * row, left[row]) + text(320, 705 - 12 * row, right[row])
        found = read(pdf([stream]))
        assert found.startswith("# A Title across Both of the Columns\n\n")
        flat = " ".join(found.split())
        assert " ".join(left) in flat
        assert " ".join(right) in flat
        assert flat.index(left[-1]) < flat.index(right[0])

    def test_wrapped_lines_become_one_paragraph(self) -> None:
        rows = [
            "The kiln is lit at dawn and is held for one hour and three quar-",
            "ters of the next; it cools overnight.",
        ]
        assert read(pdf([lines(72, 700, rows)])) == (
            "The kiln is lit at dawn and is held for one hour and three quarters of the next; it cools overnight."
        )

    def test_wrapped_chinese_lines_are_joined_without_a_space(self) -> None:
        rows = ["窑炉在清晨点火并且在九百六十度下保温一小时随后缓慢", "降温。"]
        stream = "".join(chinese(72, 700 - 16 * row, words) for row, words in enumerate(rows))
        assert read(pdf([stream], fonts={"G": chinese_font("UniGB-UCS2-H")})) == "".join(rows)

    def test_lines_that_were_broken_on_purpose_stay(self) -> None:
        rows = ["Visa Card ending in 4782", "Auth: 847392", "A line that is much longer than all of the others here"]
        assert read(pdf([lines(72, 700, rows)])) == "\n".join(rows)

    def test_paragraphs_by_distance_and_by_indent(self) -> None:
        first, second, third = prose(0, 3), prose(5, 3), prose(9, 3)
        stream = lines(72, 700, first) + lines(72, 640, second)
        stream += text(92, 604, third[0]) + lines(72, 592, third[1:])
        assert [part.split()[0] for part in read(pdf([stream])).split("\n\n")] == [
            each[0].split()[0] for each in (first, second, third)
        ]

    def test_headings_by_size_and_by_weight(self) -> None:
        stream = text(72, 740, "Handbook", size=20) + text(72, 710, "Care of the loom", size=14)
        stream += lines(72, 690, prose(0, 4))
        stream += text(72, 620, "Oiling", font="F2") + lines(72, 600, prose(3, 4))
        found = read(pdf([stream], fonts={"F2": BOLD}))
        assert [part for part in found.split("\n\n") if part.startswith("#")] == [
            "# Handbook",
            "## Care of the loom",
            "### Oiling",
        ]

    def test_headers_and_footers_come_once(self) -> None:
        streams = [
            text(72, 760, "Handbook of the Workshop")
            + lines(72, 700, [f"{word} {number}" for word in prose(number, 3)])
            + text(300, 40, f"Page {number}")
            for number in range(1, 6)
        ]
        found = read(pdf(streams))
        assert found.count("Handbook of the Workshop") == 1
        assert found.count("Page") == 1
        assert all(f" {number}" in found for number in range(1, 6))

    def test_list_items_stand_alone(self) -> None:
        stream = "".join(
            text(72, 700 - 14 * row, "1.".replace("1", str(row + 1))) + text(100, 700 - 14 * row, words)
            for row, words in enumerate(["Oil the winch", "Coil the rope", "Lock the shed"])
        )
        assert read(pdf([stream])) == "1. Oil the winch\n\n2. Coil the rope\n\n3. Lock the shed"


class TestTables:
    def test_a_drawn_table_with_a_cell_that_spans(self) -> None:
        stream = "".join(line(72, y, 372, y) for y in (700, 680, 640)) + line(172, 660, 372, 660)
        stream += "".join(line(x, 640, x, 700) for x in (72, 172, 272, 372))
        for x, y, words in (
            *((80, 686, "Kiln"), (180, 686, "Hour"), (280, 686, "Degrees")),
            *((80, 656, "North"), (180, 666, "8:00"), (280, 666, "960")),
            *((180, 646, "9:00"), (280, 646, "1280 | held")),
        ):
            stream += text(x, y, words)
        assert read(pdf([stream])) == (
            "| Kiln | Hour | Degrees |\n| --- | --- | --- |\n| North | 8:00 | 960 |\n|  | 9:00 | 1280 \\| held |"
        )

    def test_a_table_without_lines(self) -> None:
        rows = [("Start", "End", "Shows"), ("12/20/24", "12/31/24", "48"), ("01/02/25", "01/09/25", "12")]
        stream = "".join(
            text(72 + 120 * column, 700 - 14 * row, cell)
            for row, cells in enumerate(rows)
            for column, cell in enumerate(cells)
        )
        assert read(pdf([stream])).splitlines() == [
            "| Start | End | Shows |",
            "| --- | --- | --- |",
            "| 12/20/24 | 12/31/24 | 48 |",
            "| 01/02/25 | 01/09/25 | 12 |",
        ]

    def test_lines_of_a_cell_are_one(self) -> None:
        stream = "".join(line(72, y, 372, y) for y in (700, 660, 640)) + "".join(
            line(x, 640, x, 700) for x in (72, 222, 372)
        )
        stream += text(80, 686, "What was done") + text(80, 670, "to the loom") + text(230, 686, "When")
        stream += text(80, 646, "oiled") + text(230, 646, "in May")
        assert read(pdf([stream])).splitlines()[0] == "| What was done to the loom | When |"

    def test_a_frame_is_no_table(self) -> None:
        stream = "60 400 400 340 re S\n" + lines(72, 700, prose(0, 6))
        assert "|" not in read(pdf([stream]))

    def test_a_drawn_table_on_a_turned_page(self) -> None:
        cells = {(80, 20): "Kiln", (180, 20): "Hour", (80, 40): "North", (180, 40): "9:00"}
        # Upright x is the page's y, upright y (downwards) is the page's x.
        stream = "".join(line(y, 72, y, 272) for y in (5, 25, 45)) + "".join(line(5, x, 45, x) for x in (72, 172, 272))
        stream += "".join(f"BT /F1 10 Tf 0 1 -1 0 {y} {x} Tm ({words}) Tj ET\n" for (x, y), words in cells.items())
        assert read(pdf([stream])) == "| Kiln | Hour |\n| --- | --- |\n| North | 9:00 |"


class TestBeyondTheText:
    def test_values_of_forms(self) -> None:
        data = pdf([text(72, 700, "Application")], fields={"fullname": "Ada Marlow", "town": ""})
        assert read(data) == "Application\n\nfullname: Ada Marlow"

    def test_the_title(self) -> None:
        assert read_pdf(pdf([text(72, 700, "Text")], title="Fruit")).title == "Fruit"

    def test_an_indirect_filter(self) -> None:
        data = pdf([text(72, 700, "The winch is oiled every spring.")])
        number = data.count(b" 0 obj") + 1
        extra = f"{number} 0 obj\n[/FlateDecode]\nendobj\n".encode()
        # The file's table of objects no longer fits, and is made anew by whoever reads it.
        data = data.replace(b"/Filter /FlateDecode", b"/Filter %d 0 R" % number)
        assert read(data.replace(b"xref\n", extra + b"xref\n", 1)) == "The winch is oiled every spring."

    def test_what_is_damaged_or_locked_is_refused(self) -> None:
        with pytest.raises(ParseFailed, match="damaged"):
            read_pdf(b"%PDF-1.7\nnothing follows")
        locked = documents.pdf(["text"]).replace(
            b"/Root 1 0 R",
            b"/Root 1 0 R /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <"
            + b"00" * 32
            + b"> /U <"
            + b"00" * 32
            + b"> >> /ID [<00> <00>]",
        )
        with pytest.raises(EncryptedDocument, match="password"):
            read_pdf(locked)
