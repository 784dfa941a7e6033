import pytest

from retrieval.search.language import is_foreign, script_overlap


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("how hot is the kiln?", False),
        ("ｈｏｗ ｈｏｔ", False),
        ("窑炉的温度是多少？", True),
        ("Milvus 的检索怎么配置", True),
        ("what does 窑 mean in English", False),
        ("窯の温度はどのくらいですか", True),
        ("насколько горяча печь?", True),
        ("πόσο ζεστός είναι ο κλίβανος;", True),
        ("ما هي درجة حرارة الفرن؟", True),
        ("가마는 얼마나 뜨겁습니까?", True),
        ("भट्ठी कितनी गर्म है?", True),
        ("12:30 %", False),
        ("", False),
    ],
)
def test_all_scripts_but_latin_are_foreign_to_models_for_english_alone(text: str, foreign: bool) -> None:
    assert is_foreign(text, ["en"]) is foreign
    assert not is_foreign(text, ["en", "zh", "mixed"])


def test_models_for_two_languages_read_two_scripts() -> None:
    assert not is_foreign("Milvus 的检索怎么配置", ["en", "zh"])
    assert is_foreign("насколько горяча печь?", ["en", "zh"])
    assert is_foreign("how hot is the kiln?", ["zh"])


@pytest.mark.parametrize(
    ("query", "passages", "overlap"),
    [
        ("kiln", ["The kiln is hot."], 1),
        ("kiln", ["窑炉的温度是一千二百度"], 0),
        ("kiln", ["窑炉的温度是一千二百度", "The kiln is very hot."], 1),
        ("kiln", ["窑炉的温度由 Milvus 记录，烧到一千二百度，然后冷却一天再打开"], 0),
        ("печь", ["窑炉", "kiln"], 0),
        ("abcd 窑炉", ["kiln"], 0.5),
        ("", ["kiln"], 1),
        ("kiln", [], 1),
        ("窑炉2019", ["Kilns were rebuilt."], 20 / 24),
        ("kilns 2019", ["窑炉重建了"], 20 / 25),
        ("2019", ["Kilns were rebuilt."], 1),
    ],
)
def test_overlap_is_the_share_of_letters_in_scripts_of_the_passages(
    query: str, passages: list[str], overlap: float
) -> None:
    assert script_overlap(query, passages) == overlap
