"""Expected values are what Excel shows for the number under the format."""

import pytest

from ingestion.parsers.office.number_formats import BUILT_IN, shown, shown_text


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (1234.5, "General", "1234.5"),
        (0.1 + 0.2, "General", "0.3"),
        (12345678901234, "General", "12345678901234"),
        (0.00001, "General", "0.00001"),
        (1e300, "General", "1E+300"),
        (1234567.891, "#,##0.00", "1,234,567.89"),
        (12, "#,##0", "12"),
        (0, "#,##0", "0"),
        (0, "#,###", ""),
        (2.5, "0", "3"),
        (1.005, "0.00", "1.01"),
        (-2.5, "0", "-3"),
        (-0.001, "0.00", "0.00"),
        (-1234, "#,##0;(#,##0)", "(1,234)"),
        (0, '0;-0;"none"', "none"),
        (0.1234, "0.0%", "12.3%"),
        (7, "00000", "00007"),
        (123456789, "000-00-0000", "123-45-6789"),
        (12345678, '#,##0.0,,"M"', "12.3M"),
        (1500, '#,##0," k"', "2 k"),
        (1.5, "0.###", "1.5"),
        (0.5, "#.##", ".5"),
        (3, "0.0##", "3.0"),
        (12345.678, "0.00E+00", "1.23E+04"),
        (0.00012, "0.0E+0", "1.2E-4"),
        (12345, "##0.0E+0", "12.3E+3"),
        (5.25, "# ?/?", "5 1/4"),
        (0.333333, "# ??/??", "1/3"),
        (2.5, "# ?/8", "2 4/8"),
        (42, '"No. "0', "No. 42"),
        (5, "0\\ \\m\\²", "5 m²"),
        (1234.5, '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "$1,234.50"),
        (-1234.5, '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "$(1,234.50)"),
        (0, '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)', "$-"),
        (1234.5, "[$¥-804]#,##0.00", "¥1,234.50"),
        (1234.5, "#,##0.00\\ [$€-407]", "1,234.50 €"),
        (5, "[Red]0.0", "5.0"),
        (150, '[>=100]"high "0;[<0]"low "0;0', "high 150"),
        (50, '[>=100]"high "0;[<0]"low "0;0', "50"),
        (5, ";;;", ""),
        (45292, "yyyy-mm-dd", "2024-01-01"),
        (45292, "yyyy/m/d", "2024/1/1"),
        (45292, 'yyyy"年"m"月"d"日"', "2024年1月1日"),
        (45292.75, "d mmm yy h:mm AM/PM", "1 Jan 24 6:00 PM"),
        (45292, "dddd, mmmm dd, yyyy", "Monday, January 01, 2024"),
        (45292, "[$-804]dddd", "星期一"),
        (45292, "yyyy-mm-dd aaaa", "2024-01-01 星期一"),
        (45292.5, "yyyy-mm-dd hh:mm:ss", "2024-01-01 12:00:00"),
        (0.5 + 30 / 86400, "mm:ss.0", "00:30.0"),
        (1.5, "[h]:mm:ss", "36:00:00"),
        (45292.999999999, "yyyy-mm-dd h:mm", "2024-01-02 0:00"),
        (59, "yyyy-mm-dd", "1900-02-28"),
        (61, "yyyy-mm-dd", "1900-03-01"),
        (-1, "yyyy-mm-dd", "-1"),
        (1e12, "yyyy-mm-dd", "1000000000000"),
        (0.25, '上午/下午h"时"mm"分"', "上午6时00分"),
        (float("nan"), "0.00", "nan"),
    ],
)  # fmt: skip
def test_numbers_look_as_in_a_spreadsheet(value: float, code: str, text: str) -> None:
    assert shown(value, code) == text


@pytest.mark.parametrize(
    "code",
    ["0.00" * 100, "[", '"', "\\", "0/", "/0", "E+", "0E+", "e", ";", "[h", "AM/PM", "?" * 300, "0.0.0", ",", "%%%%0"],
)
@pytest.mark.parametrize("value", [0.0, -1.5, 45292.25, 1e308, -1e-308])
def test_strange_formats_show_something_bounded(value: float, code: str) -> None:
    assert len(shown(value, code)) < 1500


def test_days_since_1904() -> None:
    assert shown(0, "yyyy-mm-dd", since_1904=True) == "1904-01-01"


def test_text_takes_the_words_of_its_format() -> None:
    assert shown_text("x", '0;0;0;"see "@') == "see x"
    assert shown_text("x", "@") == "x"
    assert shown_text("x", "0.00") == "x"


def test_every_built_in_format_shows_a_number() -> None:
    assert [number for number, code in BUILT_IN.items() if not shown(45292.5, code)] == []
