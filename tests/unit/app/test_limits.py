import pytest
from pydantic import SecretStr

from app.errors import Unauthorized
from app.limits import Admission, ApiKeys
from ingestion.errors import Overloaded


def test_without_keys_everybody_is_let_in() -> None:
    ApiKeys([]).check(None)


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic right", "right", "Bearer right2"])
def test_wrong_keys_are_refused(given: str | None) -> None:
    with pytest.raises(Unauthorized):
        ApiKeys([SecretStr("right"), SecretStr("other")]).check(given)


@pytest.mark.parametrize("given", ["Bearer right", "bearer right", "Bearer other", "Bearer  other "])
def test_any_known_key_is_right(given: str) -> None:
    ApiKeys([SecretStr("right"), SecretStr("other")]).check(given)


async def test_admission_bounds_what_is_under_way_and_frees_it_after_errors() -> None:
    admission = Admission(100, "candidates")
    async with admission.admit(60):
        with pytest.raises(Overloaded) as refused:
            async with admission.admit(50):
                pass
        assert refused.value.detail["retry_after_s"] == 1
        async with admission.admit(40):
            pass
    with pytest.raises(KeyError):
        async with admission.admit(100):
            raise KeyError
    async with admission.admit(100):
        pass


async def test_an_idle_node_takes_a_search_larger_than_the_bound() -> None:
    async with Admission(10, "candidates").admit(400):
        pass
