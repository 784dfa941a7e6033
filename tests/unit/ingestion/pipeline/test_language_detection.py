"""Languages of texts, among them short ones."""

import pytest

from ingestion.pipeline.language_detection import SAMPLE, UNKNOWN, detect_language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "烧窑前要让陶坯干透。"),
        ("zh", "電腦的記憶體不足，請關閉程式。"),
        ("zh", "退货"),
        ("en", "Dry the clay before firing."),
        ("ja", "返品は七日以内にお願いします。"),
        ("ko", "가마에 넣기 전에 점토를 말리세요."),
        ("de", "Rückgabe innerhalb von sieben Tagen"),
        ("fr", "L'argile doit sécher avant la cuisson."),
        ("es", "La arcilla debe secarse antes de la cocción."),
        ("ru", "Перед обжигом глина должна высохнуть."),
        ("uk", "Перед випалом глина має висохнути."),
        ("ar", "يجب أن يجف الطين قبل الحرق."),
        ("hi", "पकाने से पहले मिट्टी सूखनी चाहिए।"),
        ("th", "ดินเหนียวต้องแห้งก่อนเผา"),
        ("vi", "Đất sét phải khô trước khi nung."),
    ],
)
def test_of_a_sentence(language: str, text: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize("text", ["", " \n", "1234567 89.0", "a3f9c0de 77ab", "ok", "<div class='x'></div>"])
def test_of_no_language_or_too_little(text: str) -> None:
    assert detect_language(text) == UNKNOWN


def test_of_a_long_text_three_parts_are_read() -> None:
    english = ("The kiln cools overnight. " * SAMPLE)[:SAMPLE]
    chinese = ("窑炉在夜间冷却。" * SAMPLE)[: 4 * SAMPLE]
    assert detect_language(english + chinese) == "zh"
    assert detect_language(english + chinese + english + chinese + english) == "en"
