import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.http.schemas.wire import CollectionName
from ingestion.collections.names import alias_of, shadow_of

NAME = TypeAdapter(CollectionName)
NAMES = st.from_regex(r"[^\W\d_][\w.-]{0,99}", fullmatch=True)


@pytest.mark.parametrize("name", ["docs", "产品手册", "a-b", "v2.5", "Übersicht", "каталог_3", "a" * 100])
def test_names(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "1st", "_x", "-x", ".x", "a b", "a/b", "a~other", "a\n", "a%", "𝟙", "a" * 101])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


def test_names_that_milvus_takes_stay_as_they_are() -> None:
    assert alias_of("docs_2") == "docs_2"
    assert alias_of("产品 v2.5".replace(" ", "-")).startswith("_v2_5_")


@given(one=NAMES, other=NAMES)
def test_every_name_has_an_alias_of_its_own_that_milvus_takes(one: str, other: str) -> None:
    assert re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", alias_of(one))
    assert len(alias_of(one)) <= 200
    assert (alias_of(one) == alias_of(other)) is (one == other)
    assert alias_of(alias_of(one).lstrip("_")) != alias_of(one) or alias_of(one) == one
    assert "~" in shadow_of(one)
