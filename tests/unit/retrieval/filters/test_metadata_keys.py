import pytest

from retrieval.errors import InvalidRequest
from retrieval.filters.metadata_keys import MAX_KEYS, MAX_TEXT_BYTES, check_declared, wrong_value
from retrieval.filters.tree import KeyType

KEYS: dict[str, KeyType] = {"year": "int", "tag": "text", "price": "float", "draft": "bool"}


def test_values_of_their_types() -> None:
    assert wrong_value({"year": 2024, "tag": "a", "price": 5, "draft": False, "other": [1]}, KEYS) is None
    assert wrong_value({"price": 5.5, "year": None}, KEYS) is None
    assert wrong_value({}, KEYS) is None
    assert wrong_value({"tag": "é" * (MAX_TEXT_BYTES // 2)}, KEYS) is None


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("year", "2024", "metadata.year is '2024'; the collection declares it as int"),
        ("year", 2024.0, "metadata.year is 2024.0"),
        ("year", True, "metadata.year is true"),
        ("price", False, "metadata.price is false"),
        ("price", "5", "metadata.price is '5'"),
        ("tag", 5, "metadata.tag is 5"),
        ("tag", ["a"], "metadata.tag is a list"),
        ("tag", {"a": "x" * 1000}, "metadata.tag is an object"),
        ("tag", "é" * (MAX_TEXT_BYTES // 2) + "x", f"metadata.tag has more than the {MAX_TEXT_BYTES} bytes"),
        ("draft", 1, "metadata.draft is 1"),
        ("draft", "x" * 1000, "metadata.draft is 'xxx"),
    ],
)
def test_values_of_other_types(key: str, value: object, told: str) -> None:
    problem = wrong_value({key: value}, KEYS)
    assert problem is not None
    assert problem.startswith(told)
    assert len(problem) < 200


def test_keys_that_can_be_declared() -> None:
    check_declared({})
    check_declared(KEYS | {f"k_{number}": "int" for number in range(MAX_KEYS - len(KEYS))})
    check_declared({"k" * 64: "int"})


@pytest.mark.parametrize("name", ["", "1st", "_x", "a-b", "a b", "名", "a.b", 'a"', "a\n", "k" * 65])
def test_keys_that_cannot(name: str) -> None:
    with pytest.raises(InvalidRequest, match="metadata_keys"):
        check_declared({name: "int"})


def test_no_more_than_fields_can_be_had() -> None:
    with pytest.raises(InvalidRequest, match=f"17 keys; at most {MAX_KEYS}"):
        check_declared({f"k{number}": "int" for number in range(MAX_KEYS + 1)})
