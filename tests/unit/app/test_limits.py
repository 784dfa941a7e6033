import pytest

from app.limits import Admission
from ingestion.errors import Overloaded


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
