import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.parsers.text import decode, decode_unicode, normalize

SIMPLIFIED = "高血压患者能吃党参吗？我有高血压，这两天女婿来的时候给我拿了些党参泡水喝。"
TRADITIONAL = "通用領域繁體中文機器閱讀理解資料集，本資料集期望成為適用於遷移學習之標準資料集。"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
@pytest.mark.parametrize("text", [SIMPLIFIED + "\nline 2", "一行\n二行", "name,value\n部门,3"])
def test_chinese_in_every_encoding(encoding: str, text: str) -> None:
    assert (decode(text.encode(encoding)) or "").lstrip("\ufeff") == text


@pytest.mark.parametrize("text", [TRADITIONAL, "機器閱讀理解", TRADITIONAL[:9] + "\nabc 1"])
def test_big5(text: str) -> None:
    assert decode(text.encode("big5")) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Le café est déjà fermé, à côté de la forêt où naît l'été.", "cp1252"),
        ("Größere Übungen für die Schüler", "cp1252"),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "cp1251"),
        ("日本語のテキストです。これは試験のための文章です。", "shift_jis"),
        ("이것은 한국어로 쓴 문장입니다. 문서를 검색하는 방법을 설명합니다.", "euc_kr"),
    ],
)
def test_other_encodings_are_not_taken_for_chinese(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) is None


def test_a_few_broken_bytes_do_not_change_the_encoding() -> None:
    data = (SIMPLIFIED * 5).encode()
    assert decode_unicode(data[:100] + b"\xff" + data[100:]) is not None
    assert decode_unicode(SIMPLIFIED.encode("gb18030")) is None


def test_a_stray_nul_does_not_make_text_utf16() -> None:
    assert decode_unicode(b"plain\0 text of some length") == "plain\0 text of some length"


def test_normal_form() -> None:
    assert normalize("\ufeff a\r\nb\rc\u2028d \t\n\n\n\n\n\ne\u0301\0\x1b\ud800\n") == "a\nb\nc\nd\n\n\né"


@given(st.text())
def test_normalizing_is_idempotent_and_storable(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\0" not in once
    once.encode()
