import pytest

from ingestion.errors import EncryptedDocument, NoText, ParseLimit
from ingestion.parsers.office import sheets
from ingestion.parsers.office.sheets import column_name
from ingestion.parsers.office.workbook import read_workbook
from tests.support.files.documents import spreadsheet


def row(number: int, **cells: str | float) -> str:
    """Cells by column: texts inline, numbers with an optional style as `3#1`, XML as it is."""
    content = ""
    for column, value in cells.items():
        place = f'r="{column}{number}"'
        if isinstance(value, str) and value.startswith("<"):
            content += f"<c {place}{value[2:]}"
        elif isinstance(value, str) and "#" in value:
            number_text, _, style = value.partition("#")
            content += f'<c {place} s="{style}"><v>{number_text}</v></c>'
        elif isinstance(value, str):
            content += f'<c {place} t="inlineStr"><is><t>{value}</t></is></c>'
        else:
            content += f"<c {place}><v>{value}</v></c>"
    return f'<row r="{number}">{content}</row>'


def sheet(*rows: str) -> str:
    return f"<sheetData>{''.join(rows)}</sheetData>"


def text_of(data: bytes) -> str:
    return read_workbook(data).text


def test_values_are_as_they_are_shown() -> None:
    data = spreadsheet(
        {"Prices": sheet(
            row(1, A="Day", B="Price", C="Share", D="Paid"),
            row(2, A="45292#1", B="1234.5#2", C="0.125#3", D='<c t="b"><v>1</v></c>'),
            row(3, A="45293.5#1", B="-3#2", C='<c t="e"><v>#DIV/0!</v></c>', D='<c t="b"><v>0</v></c>'),
        )},
        formats=["yyyy/m/d", "#,##0.00;(#,##0.00)", "0.0%"],
    )  # fmt: skip
    assert text_of(data) == (
        "## Prices\n\n| Day | Price | Share | Paid |\n| --- | --- | --- | --- |\n"
        "| 2024/1/1 | 1,234.50 | 12.5% | TRUE |\n| 2024/1/2 | (3.00) | #DIV/0! | FALSE |"
    )


def test_formulas_have_the_value_that_the_file_holds() -> None:
    formulas = {"B": "<c><f>1+1</f><v>2</v></c>", "C": "<c><f>A9</f></c>", "D": '<c t="str"><v>a_x000A_b</v></c>'}
    data = spreadsheet({"S": sheet(row(1, A="Sum", **formulas))})
    found = read_workbook(data)
    assert found.text == "## S\n\n| Sum | 2 | a b |\n| --- | --- | --- |"
    assert found.report.warnings == (
        "The file holds no values of the formulas in S!C1. Open it in a spreadsheet program, and save it.",
    )


def test_shared_strings_are_joined_without_readings() -> None:
    power = "<r><t>10</t></r><r><rPr><vertAlign val='superscript'/></rPr><t>6</t></r><rPh><t>yomi</t></rPh>"
    cells = {column: f'<c t="s"><v>{index}</v></c>' for column, index in (("A", 1), ("B", 0), ("C", 9))}
    data = spreadsheet({"S": sheet(row(1, **cells))}, strings=["<t>m</t>", power])
    assert "| 10^6 | m |" in text_of(data)


def test_parts_of_a_table_have_its_header_and_titles_stand_before_it() -> None:
    data = spreadsheet({
        "S": sheet(
            row(1, A="Price list 2024"),
            row(2, A="Part", B="Price"),
            row(3, A="P1", B=10),
            row(5, A="P2", B=20),
            row(7, A="Name", B="Town", C="Post"),
            row(8, A="Lin", B="Oslo", C="x"),
        )
    })  # fmt: skip
    assert text_of(data) == (
        "## S\n\nPrice list 2024\n\n| Part | Price |\n| --- | --- |\n| P1 | 10 |\n\n"
        "| Part | Price |\n| --- | --- |\n| P2 | 20 |\n\n"
        "| Name | Town | Post |\n| --- | --- | --- |\n| Lin | Oslo | x |"
    )


def test_merged_cells_have_their_text_in_each_row() -> None:
    data = spreadsheet(
        {
            "S": sheet(row(1, A="Hall", B="Part"), row(2, A="North", B="P1"), row(3, B="P2"))
            + '<mergeCells><mergeCell ref="A2:A3"/><mergeCell ref="B1:XFD1048576"/></mergeCells>'
        }
    )
    assert text_of(data).endswith("| North | P1 |\n| North | P2 |")


def test_comments_name_their_cell_and_links_their_target() -> None:
    data = spreadsheet(
        {"S": sheet(row(1, A="Part", B="See"), row(2, A="P1", B="maker"))
         + '<hyperlinks><hyperlink ref="B2" r:id="rId7"/></hyperlinks>'},
        comments="<authors><author>Lin</author></authors><commentList><comment ref='A2' authorId='0'><text>"
        "<r><t>Lin:</t></r><r><t>\nsold\nout</t></r></text></comment></commentList>",
        links={"rId7": "https://example.org/p1"},
    )  # fmt: skip
    assert text_of(data).endswith("| P1 | [maker](https://example.org/p1) |\n\nS!A2: Comment (Lin): sold out")


def test_hidden_sheets_are_read_and_reported() -> None:
    data = spreadsheet({"Front": sheet(row(1, A="x")), "Back": sheet(row(1, A="y")), "None": sheet()}, hidden=["Back"])
    found = read_workbook(data)
    assert found.text == "## Front\n\nx\n\n## Back\n\ny"
    assert found.pages == ((1, 0), (2, 13))
    assert found.report.warnings == ("Hidden sheets were read as well: Back.",)


def test_cells_far_apart_do_not_make_a_wide_table() -> None:
    data = spreadsheet({"S": sheet(row(1, A="a", XFD="b"), row(2, A="c", XFD="d"))})
    assert text_of(data) == "## S\n\n| a | b |\n| --- | --- |\n| c | d |"


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = spreadsheet({"S": sheet(*(row(number, A="ab", B="cd") for number in range(1, 6)))})
    monkeypatch.setattr(sheets, "MAX_CELLS", 9)
    with pytest.raises(ParseLimit, match="more than 9 cells"):
        read_workbook(data)
    monkeypatch.setattr(sheets, "MAX_CELLS", 10)
    assert read_workbook(data)
    monkeypatch.setattr(sheets, "MAX_CHARS", 19)
    with pytest.raises(ParseLimit, match="more than 19 characters"):
        read_workbook(data)


def test_an_empty_workbook_has_no_text() -> None:
    with pytest.raises(NoText):
        read_workbook(spreadsheet({"S": sheet()}))


def test_a_password_is_told() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le")
    with pytest.raises(EncryptedDocument):
        read_workbook(ole)


@pytest.mark.parametrize(("number", "name"), [(1, "A"), (26, "Z"), (27, "AA"), (703, "AAA")])
def test_columns_are_named(number: int, name: str) -> None:
    assert column_name(number) == name
