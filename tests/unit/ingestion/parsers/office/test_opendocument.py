"""Spreadsheets and presentations of OpenDocument."""

import pytest

from ingestion.errors import EncryptedDocument, NoText, ParseFailed, ParseLimit
from ingestion.parsers.assembly import Extraction
from ingestion.parsers.detect import ODP, ODS
from ingestion.parsers.office import sheets
from ingestion.parsers.office.opendocument.sheets import read_spreadsheet
from ingestion.parsers.office.opendocument.slides import read_presentation
from tests.support.files.documents import archive

NAMES = "".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" '
    for prefix, name in {
        "office": "office", "table": "table", "text": "text", "draw": "drawing", "style": "style",
        "presentation": "presentation", "svg": "svg-compatible",
    }.items()
) + 'xmlns:dc="http://purl.org/dc/elements/1.1/"'  # fmt: skip


def package(media_type: str, body: str, styles: str = "", **parts: str) -> bytes:
    content = (
        f"<office:document-content {NAMES}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body>{body}</office:body></office:document-content>"
    )
    return archive({"mimetype": media_type, "content.xml": content} | parts)


def ods(tables: str, styles: str = "", **parts: str) -> bytes:
    return package(ODS, f"<office:spreadsheet>{tables}</office:spreadsheet>", styles, **parts)


def odp(pages: str) -> bytes:
    return package(ODP, f"<office:presentation>{pages}</office:presentation>")


def sheet(rows: str, name: str = "Prices", style: str = "") -> str:
    return f'<table:table table:name="{name}" table:style-name="{style}">{rows}</table:table>'


def row(*cells: str, repeated: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{repeated}">{"".join(cells)}</table:table-row>'


def cell(text: str, attributes: str = "", more: str = "") -> str:
    return f"<table:table-cell {attributes}>{more}<text:p>{text}</text:p></table:table-cell>"


def empty(times: int = 1) -> str:
    return f'<table:table-cell table:number-columns-repeated="{times}"/>'


def frame(text: str, kind: str = "outline") -> str:
    return (
        f'<draw:frame presentation:class="{kind}"><draw:text-box><text:p>{text}</text:p></draw:text-box></draw:frame>'
    )


def read(data: bytes) -> Extraction:
    return read_spreadsheet(data)


class TestSheets:
    def test_dates_and_numbers_as_they_are_shown(self) -> None:
        rows = row(cell("Day"), cell("Share"), cell("Fee")) + row(
            cell("3 May 2026", 'office:value-type="date" office:date-value="2026-05-03"'),
            cell("12.5 %", 'office:value-type="percentage" office:value="0.125"'),
            cell("1,280 €", 'office:value-type="currency" office:value="1280"'),
        )
        found = read(ods(sheet(rows)))
        assert found.text == (
            "## Prices\n\n| Day | Share | Fee |\n| --- | --- | --- |\n| 3 May 2026 | 12.5 % | 1,280 € |"
        )
        assert found.pages == ((1, 0),)

    def test_values_that_the_file_holds_without_their_text(self) -> None:
        rows = row(cell("Day"), cell("Fee")) + row(
            '<table:table-cell office:value-type="date" office:date-value="2026-05-03"/>',
            '<table:table-cell office:value-type="float" office:value="31"/>',
        )
        assert "| 2026-05-03 | 31 |" in read(ods(sheet(rows))).text

    def test_merged_cells_stand_in_each_row(self) -> None:
        rows = (
            row(cell("Hall"), cell("Part"))
            + row(cell("North", 'table:number-rows-spanned="2"'), cell("Winch"))
            + row("<table:covered-table-cell><text:p>hidden</text:p></table:covered-table-cell>", cell("Mast"))
        )
        assert read(ods(sheet(rows))).text.endswith("| North | Winch |\n| North | Mast |")

    def test_repeated_cells_and_rows(self) -> None:
        rows = (
            row(cell("a"), cell("b"), cell("c"))
            + row(cell("1", 'table:number-columns-repeated="2"'), cell("2"), empty(16_000), repeated=2)
            + row(empty(16_384), repeated=1_048_000)
        )
        assert read(ods(sheet(rows))).text.endswith("| a | b | c |\n| --- | --- | --- |\n| 1 | 1 | 2 |\n| 1 | 1 | 2 |")

    def test_comments_shapes_and_several_sheets(self) -> None:
        note = "<office:annotation><dc:creator>Lin</dc:creator><text:p>Since when?</text:p></office:annotation>"
        shapes = "<table:shapes><draw:custom-shape><text:p>See the annex.</text:p></draw:custom-shape></table:shapes>"
        first = sheet(shapes + row(cell("Fee", more=note), cell("12")))
        found = read(ods(first + sheet(row(cell("Winter")), name="Second sheet")))
        assert found.text == (
            "## Prices\n\n| Fee | 12 |\n| --- | --- |\n\nPrices!A1: Comment (Lin): Since when?\n\nSee the annex.\n\n"
            "## Second sheet\n\nWinter"
        )
        assert [number for number, _ in found.pages] == [1, 2]

    def test_hidden_sheets_are_reported(self) -> None:
        style = '<style:style style:name="ta2"><style:table-properties table:display="false"/></style:style>'
        found = read(ods(sheet(row(cell("Costs")), style="ta2"), style))
        assert found.text.endswith("Costs")
        assert found.report.warnings == ("Hidden sheets were read as well: Prices.",)

    def test_formulas_without_a_value_are_reported(self) -> None:
        found = read(ods(sheet(row(cell("Sum"), '<table:table-cell table:formula="of:=1+1"/>'))))
        assert "Prices!B1" in found.report.warnings[0]

    def test_more_cells_than_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sheets, "MAX_CELLS", 100)
        with pytest.raises(ParseLimit):
            read(ods(sheet(row(cell("x", 'table:number-columns-repeated="11"'), repeated=10))))

    def test_a_password_is_reported(self) -> None:
        manifest = '<m:manifest xmlns:m="urn:x"><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>'
        with pytest.raises(EncryptedDocument):
            read(ods("", **{"META-INF/manifest.xml": manifest}))

    def test_no_cell_has_text(self) -> None:
        with pytest.raises(NoText):
            read(ods(sheet(row(empty(5)))))


class TestSlides:
    def test_slides_with_title_text_table_and_notes(self) -> None:
        rows = row(cell("Length"), cell("Fee")) + row(cell("5 m"), cell("100"))
        table = f"<draw:frame><table:table>{rows}</table:table></draw:frame>"
        notes = (
            '<presentation:notes><draw:page-thumbnail presentation:class="page"/>'
            + frame("Ask about the winter.", "notes")
            + frame("7", "page-number")
            + "</presentation:notes>"
        )
        shown = frame("Berth<text:s/>fees", "title") + frame("From May on") + table + frame("3", "page-number")
        page = f"<draw:page>{notes}{shown}</draw:page>"
        found = read_presentation(odp(page + f"<draw:page>{frame('Thank you', 'title')}</draw:page>"))
        assert found.text == (
            "# Berth fees\n\nFrom May on\n\n| Length | Fee |\n| --- | --- |\n| 5 m | 100 |\n\nAsk about the winter.\n\n"
            "# Thank you"
        )
        assert found.pages == ((1, 0), (2, found.text.index("# Thank")))

    def test_groups_pictures_and_comments(self) -> None:
        shape = "<draw:custom-shape><text:p>Gate</text:p></draw:custom-shape>"
        group = f"<draw:g>{shape}<draw:g>{frame('Quay')}</draw:g></draw:g>"
        picture = "<draw:frame><draw:image/><svg:desc>Map of the harbour</svg:desc></draw:frame>"
        comment = "<office:annotation><dc:creator>Lin</dc:creator><text:p>Newer map?</text:p></office:annotation>"
        found = read_presentation(odp(f"<draw:page>{group}{picture}{comment}</draw:page>"))
        assert found.text == "Gate\n\nQuay\n\nMap of the harbour\n\nComment: Newer map?"

    def test_a_package_without_slides_is_damaged(self) -> None:
        with pytest.raises(ParseFailed):
            read_presentation(package(ODP, "<office:text/>"))
