import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.text.words import ENGLISH_STOP_WORDS, folded, joined, of_query, of_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Retrieving DOCUMENTS", "retrieved document"),
        ("Crème brûlée", "creme brulee"),
        ("Straße Ørsted Łódź", "STRASSE orsted lodz"),
        ("ｋｅｓｔｒｅｌ　１２", "kestrel 12"),
        ("ﬁne ｶﾅ", "fine カナ"),
        ("臺灣國際機場", "台湾国际机场"),
        ("٤٢", "42"),
        ("24,500", "24,500"),
        ("не\u0308бо", "нёбо"),
    ],
)
def test_spellings_of_one_word(one: str, other: str) -> None:
    assert of_text(one) == of_text(other)
    assert of_query(one) == of_query(other)


def test_stop_words_do_not_count() -> None:
    assert of_text("It is not the one that was") == ["one"]
    assert of_query(" ".join(ENGLISH_STOP_WORDS)) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("PUMP7300", ["pump7300", "pump", "7300"]),
        ("Kestrel3.8", ["kestrel3_8", "kestrel", "3_8", "3", "8"]),
        ("ISO/TS16949-2009", ["iso_ts16949_2009", "ts16949", "iso", "ts", "16949", "2009"]),
        ("24,500", ["24500", "24", "500"]),
        ("3.5%", ["3_5", "3", "5"]),
        ("cut-off", ["cut", "off"]),
        ("max_tokens", ["max_tokens", "max", "token"]),
        ("7", ["7"]),
        ("a3f09b77c2de41", ["a3f09b77c2de41"]),
        ("3fa8-11e9-b210-2cd3", ["3fa8_11e9_b210_2cd3", "3fa8", "11e9", "b210", "2cd3"]),
    ],
)
def test_codes_count_as_a_whole_and_by_their_parts(code: str, words: list[str]) -> None:
    assert of_text(code) == of_query(code) == words


def test_chinese_counts_as_words_pairs_and_in_texts_characters() -> None:
    assert of_query("向量数据库Milvus的检索") == [
        "向量",
        "数据",
        "据库",
        "数据库",
        "量数",
        "milvus",
        "的",
        "检索",
        "的检",
    ]
    assert set("向量数据库的检索") <= set(of_text("向量数据库Milvus的检索"))
    assert of_query("库") == ["库"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [("서울에서 만나요", "서울"), ("カタログを見る", "カタログ"), ("ฉันรักภาษาไทย", "ภาษา"), ("हिन्दी भाषा", "हिन्दी")],
)
def test_words_of_other_scripts_are_found(text: str, asked: str) -> None:
    assert set(of_query(asked)) <= set(of_text(text))


@given(text=st.text())
def test_words_are_short_and_hold_nothing_that_separates_words(text: str) -> None:
    words = of_text(text)
    assert set(of_query(text)) <= set(words)
    for word in words:
        assert 0 < len(word) <= 64
        assert all(each == "_" or unicodedata.category(each)[0] not in "ZPS" for each in word), word


@given(text=st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_words_of_ascii_do_not_depend_on_what_is_beside_it(text: str) -> None:
    assert of_text(text + " 锌") == [*of_text(text), "锌"]


@given(text=st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_what_does_not_fit_loses_repetitions_first() -> None:
    assert joined(["b", "a", "b"], 5) == "b a b"
    assert joined(["b", "b", "b", "a", "b"], 6) == "b a b"
    assert joined(["检索", "x"], 7) == "检索"
    assert joined([], 10) == ""
