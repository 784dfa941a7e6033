import pytest

from retrieval.search.language import is_foreign


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("how hot is the kiln?", False),
        ("\u7a91\u7089\u7684\u6e29\u5ea6\u662f\u591a\u5c11\uff1f", True),
        ("Milvus \u7684\u68c0\u7d22\u600e\u4e48\u914d\u7f6e", True),
        ("what does \u7a91 mean in English", False),
        ("12:30 %", False),
        ("", False),
    ],
)
def test_chinese_is_foreign_to_models_for_english_alone(text: str, foreign: bool) -> None:
    assert is_foreign(text, ["en"]) is foreign
    assert not is_foreign(text, ["en", "zh"])
